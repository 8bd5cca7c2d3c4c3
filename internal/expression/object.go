package expression

import (
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
)

// structType is a type with fields, such as that of event.
//
// cel-go's own ext.NativeTypes would do, but makes a map with the names of the fields at
// each read of a part, which is most of what evaluating a filter allocates.
type structType struct {
	celType *types.Type
	fields  map[string]*structField
}

type structField struct {
	celType *types.Type
	get     func(o *object) (ref.Val, error)
	isSet   func(o *object) bool
}

// The names are what messages call a value, and cannot be written in an expression: nothing
// there makes a new event.
var (
	eventType    = structTypeOf("the event", reflect.TypeFor[Event]())
	webhookType  = structTypeOf("the webhook", reflect.TypeFor[Webhook]())
	deliveryType = structTypeOf("the delivery", reflect.TypeFor[Delivery]())
	messageType  = structTypeOf("the message", reflect.TypeFor[Message]())
	responseType = newResponseType()
)

// structTypes has all types with fields by their names.
var structTypes = map[string]*structType{}

func newStructType(name string) *structType {
	t := &structType{
		celType: types.NewObjectType(name, traits.FieldTesterType, traits.IndexerType),
		fields:  map[string]*structField{},
	}
	structTypes[name] = t
	return t
}

// structTypeOf reads the fields with the tag cel.
func structTypeOf(name string, goType reflect.Type) *structType {
	t := newStructType(name)
	for i := range goType.NumField() {
		field := goType.Field(i)
		name := field.Tag.Get("cel")
		if name == "" {
			continue
		}
		isSet := func(o *object) bool { return o.value.IsValid() && !o.value.Field(i).IsZero() }
		var celType *types.Type
		var read func(v reflect.Value) ref.Val
		var empty ref.Val
		switch {
		case field.Type == reflect.TypeFor[time.Time]():
			celType, empty = types.TimestampType, types.Timestamp{Time: time.Unix(0, 0).UTC()}
			read = func(v reflect.Value) ref.Val {
				return types.Timestamp{Time: v.Interface().(time.Time).UTC()}
			}
		case field.Type.Kind() == reflect.String:
			celType, empty = types.StringType, types.String("")
			read = func(v reflect.Value) ref.Val { return types.String(v.String()) }
		case field.Type.Kind() == reflect.Int64:
			celType, empty = types.IntType, types.IntZero
			read = func(v reflect.Value) ref.Val { return types.Int(v.Int()) }
		case field.Type.Kind() == reflect.Slice:
			element := structTypeOf("an element of "+name, field.Type.Elem())
			celType, empty = types.NewListType(element.celType), newList(types.NewRefValList(types.DefaultTypeAdapter, nil))
			read = func(v reflect.Value) ref.Val {
				elements := make([]ref.Val, v.Len())
				for i := range elements {
					elements[i] = &object{structType: element, value: v.Index(i)}
				}
				return newList(types.NewRefValList(types.DefaultTypeAdapter, elements))
			}
		case field.Type.Kind() == reflect.Pointer:
			part := structTypeOf("the "+name, field.Type.Elem())
			celType, empty = part.celType, &object{structType: part}
			read = func(v reflect.Value) ref.Val { return &object{structType: part, value: v.Elem()} }
		default:
			panic(fmt.Sprintf("a field of type %v", field.Type))
		}
		t.fields[name] = &structField{
			celType: celType,
			isSet:   isSet,
			get: func(o *object) (ref.Val, error) {
				if !isSet(o) {
					return empty, nil
				}
				return read(o.value.Field(i)), nil
			},
		}
	}
	return t
}

// newResponseType describes a Response. A field is made when it is first read, and kept: a
// rule may read a body of 48 KiB some hundred times, and what that costs counts nowhere.
func newResponseType() *structType {
	t := newStructType("the response")
	add := func(name string, celType *types.Type, get func(r *Response) ref.Val, isSet func(r *Response) bool) {
		t.fields[name] = &structField{
			celType: celType,
			isSet:   func(o *object) bool { return isSet(o.response) },
			get: func(o *object) (ref.Val, error) {
				v, known := o.read[name]
				if !known {
					if o.read == nil {
						o.read = make(map[string]ref.Val, 1)
					}
					v = get(o.response)
					o.read[name] = v
				}
				if err, failed := v.(*types.Err); failed {
					return nil, fmt.Errorf("the response's body: %w", err.Unwrap())
				}
				return v, nil
			},
		}
	}
	hasBody := func(r *Response) bool { return len(r.Body) > 0 }
	add("statusCode", types.IntType,
		func(r *Response) ref.Val { return types.Int(r.StatusCode) },
		func(r *Response) bool { return r.StatusCode != 0 })
	add("headers", types.NewMapType(types.StringType, types.StringType),
		func(r *Response) ref.Val {
			values := make(map[string]ref.Val, len(r.Header))
			for name, value := range r.Header {
				values[name] = text(value)
			}
			return newRecord(values)
		},
		func(r *Response) bool { return len(r.Header) > 0 })
	add("body", types.StringType, func(r *Response) ref.Val { return text(string(r.Body)) }, hasBody)
	add("json", types.DynType, func(r *Response) ref.Val { return parseJSON(string(r.Body), maxWeight) }, hasBody)
	return t
}

// object is a value of a structType.
type object struct {
	*structType
	// value is the Go struct; it is not valid where the part is absent.
	value reflect.Value
	// response is it instead for responseType, and read what was read of it.
	response *Response
	read     map[string]ref.Val
}

func (o *object) Get(name ref.Val) ref.Val {
	field, err := o.field(name)
	if err != nil {
		return types.WrapErr(err)
	}
	value, err := field.get(o)
	if err != nil {
		return types.WrapErr(err)
	}
	return value
}

func (o *object) IsSet(name ref.Val) ref.Val {
	field, err := o.field(name)
	if err != nil {
		return types.WrapErr(err)
	}
	return types.Bool(field.isSet(o))
}

func (o *object) field(name ref.Val) (*structField, error) {
	s, ok := name.(types.String)
	if !ok {
		return nil, errors.New("the name of a field is a text")
	}
	field, ok := o.fields[string(s)]
	if !ok {
		return nil, fmt.Errorf("undefined field '%s'", truncate(string(s), 64))
	}
	return field, nil
}

func (o *object) ConvertToNative(reflect.Type) (any, error) {
	return nil, fmt.Errorf("%s cannot be converted", o.celType)
}

func (o *object) ConvertToType(t ref.Type) ref.Val {
	if t == types.TypeType {
		return o.celType
	}
	return types.NewErr("%s cannot be made a %s", o.celType, t.TypeName())
}

func (o *object) Equal(other ref.Val) ref.Val {
	p, ok := other.(*object)
	if !ok || o.structType != p.structType || o.response != p.response || o.value.IsValid() != p.value.IsValid() {
		return types.False
	}
	return types.Bool(!o.value.IsValid() || o.value.Equal(p.value))
}

func (o *object) IsZeroValue() bool { return !o.value.IsValid() && o.response == nil }

func (o *object) Type() ref.Type { return o.celType }

// Value is the object itself: what reads a field in provider.FindStructFieldType gets it.
func (o *object) Value() any { return o }

// String is what messages show of it.
func (o *object) String() string { return o.celType.TypeName() }

// provider tells cel-go of the structTypes. The types of protocol buffers, which the
// registry below it has, are hidden: making one copies what is in it.
type provider struct{ types.Provider }

func (p provider) FindStructType(name string) (*types.Type, bool) {
	t, ok := structTypes[name]
	if !ok {
		return nil, false
	}
	return types.NewTypeTypeWithParam(t.celType), true
}

func (p provider) FindStructFieldNames(name string) ([]string, bool) {
	t, ok := structTypes[name]
	if !ok {
		return nil, false
	}
	names := make([]string, 0, len(t.fields))
	for name := range t.fields {
		names = append(names, name)
	}
	return names, true
}

func (p provider) FindStructFieldType(name, fieldName string) (*types.FieldType, bool) {
	t, ok := structTypes[name]
	if !ok {
		return nil, false
	}
	field, ok := t.fields[fieldName]
	if !ok {
		return nil, false
	}
	return &types.FieldType{
		Type: field.celType,
		IsSet: func(v any) bool {
			o, ok := v.(*object)
			return ok && field.isSet(o)
		},
		GetFrom: func(v any) (any, error) {
			o, ok := v.(*object)
			if !ok {
				return nil, errors.New("no such field")
			}
			return field.get(o)
		},
	}, true
}

func (p provider) NewValue(name string, _ map[string]ref.Val) ref.Val {
	return types.NewErr("a value of type %s cannot be made", name)
}
