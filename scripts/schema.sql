-- What message daemons keep in a database of MySQL or MariaDB, one for each shard.
-- "message -c FILE -migrate-schema" applies it, and changes a private_msg that
-- older daemons made so that both use it. It may be applied to an empty database
-- by hand.
--
-- Keys, tokens and nonces are bytes: no collation takes two of them for one.

-- The messages. Older daemons share this table and know all of it but nonce. ttl
-- is the unix second at which a message expires.
CREATE TABLE IF NOT EXISTS private_msg (
  id    BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  skey  VARBINARY(255)  NOT NULL,
  mid   BIGINT          NOT NULL,
  ttl   BIGINT          NOT NULL,
  msg   LONGBLOB        NOT NULL,
  ctime DATETIME        NOT NULL,
  mtime DATETIME        NOT NULL,
  nonce VARBINARY(64)   NOT NULL DEFAULT '',
  PRIMARY KEY (id),
  UNIQUE KEY skey_mid (skey, mid),
  KEY ttl (ttl)
) ENGINE=InnoDB;

-- What is known of a key apart from its messages. Who changes anything of a key
-- locks its row here first.
CREATE TABLE IF NOT EXISTS gopush_record (
  skey    VARBINARY(255) NOT NULL,
  last    BIGINT         NOT NULL, -- the largest mid so far
  trimmed BIGINT         NOT NULL, -- the largest mid that newer ones pushed out before it expired
  till    BIGINT         NOT NULL, -- unix second until which this row is kept
  PRIMARY KEY (skey),
  KEY till (till)
) ENGINE=InnoDB;

-- The ids that callers gave to messages, which outlive the messages for a while.
CREATE TABLE IF NOT EXISTS gopush_id (
  skey VARBINARY(255) NOT NULL,
  id   VARBINARY(64)  NOT NULL,
  mid  BIGINT         NOT NULL,
  hash VARBINARY(32)  NOT NULL, -- of the message
  till BIGINT         NOT NULL,
  PRIMARY KEY (skey, id),
  KEY till (till)
) ENGINE=InnoDB;

-- Keys that had a message saved of which their comet does not know.
CREATE TABLE IF NOT EXISTS gopush_pending (
  skey VARBINARY(255) NOT NULL,
  mid  BIGINT         NOT NULL,
  PRIMARY KEY (skey),
  KEY mid (mid)
) ENGINE=InnoDB;

CREATE TABLE IF NOT EXISTS gopush_token (
  skey    VARBINARY(255) NOT NULL,
  hash    VARBINARY(64)  NOT NULL,
  expires BIGINT         NOT NULL,
  renew   TINYINT        NOT NULL, -- 1: lives longer whenever it is used
  PRIMARY KEY (skey, hash),
  KEY expires (expires)
) ENGINE=InnoDB;
