package scripts

import _ "embed"

// Schema is schema.sql.
//
//go:embed schema.sql
var Schema string
