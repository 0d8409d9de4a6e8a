package main

import (
	"fmt"

	lua "github.com/yuin/gopher-lua"
)

// Runs a script as Argo CD does: with the object as `obj`, and of the libraries only base, package, table, and of os the time.
func runLua(script string, object map[string]interface{}) (any, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{
		lua.LoadLibName: lua.OpenPackage,
		lua.BaseLibName: lua.OpenBase,
		lua.TabLibName:  lua.OpenTable,
		lua.OsLibName:   lua.OpenOs,
	} {
		if err := state.CallByParam(lua.P{Fn: state.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			return nil, err
		}
	}
	safe := state.NewTable()
	for _, name := range []string{"date", "time"} {
		safe.RawSetString(name, state.GetField(state.GetGlobal("os"), name))
	}
	state.SetGlobal("os", safe)
	state.SetGlobal("obj", toLua(state, object))
	if err := state.DoString(script); err != nil {
		return nil, err
	}
	return fromLua(state.Get(-1))
}

func toLua(state *lua.LState, value any) lua.LValue {
	switch value := value.(type) {
	case nil:
		return lua.LNil
	case bool:
		return lua.LBool(value)
	case int64:
		return lua.LNumber(value)
	case float64:
		return lua.LNumber(value)
	case string:
		return lua.LString(value)
	case []interface{}:
		table := state.NewTable()
		for _, item := range value {
			table.Append(toLua(state, item))
		}
		return table
	case map[string]interface{}:
		table := state.NewTable()
		for key, item := range value {
			table.RawSetString(key, toLua(state, item))
		}
		return table
	}
	panic(fmt.Sprintf("JSON has no %T", value))
}

func fromLua(value lua.LValue) (any, error) {
	switch value := value.(type) {
	case *lua.LNilType:
		return nil, nil
	case lua.LBool:
		return bool(value), nil
	case lua.LNumber:
		return float64(value), nil
	case lua.LString:
		return string(value), nil
	case *lua.LTable:
		if size := value.MaxN(); size > 0 {
			list := make([]any, 0, size)
			for index := 1; index <= size; index++ {
				item, err := fromLua(value.RawGetInt(index))
				if err != nil {
					return nil, err
				}
				list = append(list, item)
			}
			return list, nil
		}
		fields := map[string]any{}
		var failed error
		value.ForEach(func(key, item lua.LValue) {
			converted, err := fromLua(item)
			if err != nil {
				failed = err
			}
			fields[key.String()] = converted
		})
		return fields, failed
	}
	return nil, fmt.Errorf("a script returned %s", value.Type())
}
