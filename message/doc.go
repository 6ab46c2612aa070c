// Package message keeps the messages of keys, so that whoever was not connected
// can ask for them by mid, and the tokens with which keys may connect.
//
//	comet, web ─rpc─▶ Service ─ketama(key)─▶ shard ─┬▶ redisStore ─▶ Redis
//	                                                ├▶ mysqlStore ─▶ MySQL, MariaDB
//	                                                └▶ boltStore  ─▶ one file
//
// A save is answered when the store has it. The store decides the mid in the
// same atomic step that saves, so that mids of a key rise strictly whichever
// daemon saves, and it looks for the nonce there, so that a repeated save adds
// nothing. The newest messages of a key are kept; a record of {last, trimmed}
// outlives them, by which a client learns of a gap.
//
// The daemons are stateless: any of them serves any key, and all of them name
// the same shards. A shard that does not answer fails its own keys only. What a
// store survives is up to the store: the file is synced before a save is
// answered, Redis and MySQL keep what they are set up to keep.
package message
