package message

import (
	_ "embed"

	"github.com/gomodule/redigo/redis"
)

var (
	//go:embed lua/common.lua
	luaCommon string
	//go:embed lua/save.lua
	luaSave string
	//go:embed lua/put.lua
	luaPut string
	//go:embed lua/read.lua
	luaRead string
	//go:embed lua/delete.lua
	luaDelete string
	//go:embed lua/token_add.lua
	luaTokenAdd string
	//go:embed lua/token_check.lua
	luaTokenCheck string
	//go:embed lua/pending.lua
	luaPending string
	//go:embed lua/settle.lua
	luaSettle string
)

// The scripts, each one atomic step of a store. Nobody writes to them.
var (
	scriptSave       = redis.NewScript(4, luaCommon+luaSave)
	scriptPut        = redis.NewScript(2, luaCommon+luaPut)
	scriptRead       = redis.NewScript(2, luaCommon+luaRead)
	scriptDelete     = redis.NewScript(2, luaCommon+luaDelete)
	scriptTokenAdd   = redis.NewScript(1, luaTokenAdd)
	scriptTokenCheck = redis.NewScript(1, luaTokenCheck)
	scriptPending    = redis.NewScript(1, luaPending)
	scriptSettle     = redis.NewScript(1, luaSettle)
)
