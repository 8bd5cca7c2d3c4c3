// Command luahealth runs a health check of Argo CD as Argo CD does: the script finds the object as obj, has the
// libraries base, table, string and package, and returns a table.
//
//	luahealth health.lua <object.json
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	lua "github.com/yuin/gopher-lua"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "luahealth:", err)
		os.Exit(1)
	}
}

func run(args []string, in io.Reader, out io.Writer) error {
	if len(args) != 1 {
		return errors.New("give the path of a script")
	}
	var object map[string]any
	if err := json.NewDecoder(in).Decode(&object); err != nil {
		return fmt.Errorf("reading the object: %w", err)
	}
	vm := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer vm.Close()
	for _, library := range []struct {
		name string
		open lua.LGFunction
	}{
		{lua.LoadLibName, lua.OpenPackage}, // first: it has the list of those that are open
		{lua.BaseLibName, lua.OpenBase},
		{lua.TabLibName, lua.OpenTable},
		{lua.StringLibName, lua.OpenString},
	} {
		if err := vm.CallByParam(lua.P{Fn: vm.NewFunction(library.open), Protect: true}, lua.LString(library.name)); err != nil {
			return err
		}
	}
	vm.SetGlobal("obj", value(vm, object))
	if err := vm.DoFile(args[0]); err != nil {
		return err
	}
	health, ok := vm.Get(-1).(*lua.LTable)
	if !ok {
		return fmt.Errorf("the script returns %s, not a table", vm.Get(-1).Type())
	}
	return json.NewEncoder(out).Encode(map[string]string{
		"status": health.RawGetString("status").String(), "message": health.RawGetString("message").String(),
	})
}

// value is what was read from JSON, in Lua.
func value(vm *lua.LState, v any) lua.LValue {
	switch v := v.(type) {
	case map[string]any:
		table := vm.NewTable()
		for key, field := range v {
			table.RawSetString(key, value(vm, field))
		}
		return table
	case []any:
		table := vm.NewTable()
		for _, item := range v {
			table.Append(value(vm, item))
		}
		return table
	case string:
		return lua.LString(v)
	case float64:
		return lua.LNumber(v)
	case bool:
		return lua.LBool(v)
	default:
		return lua.LNil
	}
}
