package message

// DefaultRedisPrefix begins the names of message sets in a Redis of our own.
const DefaultRedisPrefix = "gopush:m:"
