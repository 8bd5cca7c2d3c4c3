package expression

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
)

// maxWeight is how much a value may weigh. Lists share what is in them: [a, a] in a list
// in a list, thirty times, is small in memory, and has a billion leaves for whoever walks
// through it to compare it, to write it or to name it in an error. So each list and map
// knows what it would weigh written out, and is refused where it is made. MaxBody is far
// below.
const maxWeight = 512 << 10

// partWeight is the weight of a value beside the text in it.
const partWeight = 16

// weight is how many bytes v takes at least when it is written out, never more than
// maxWeight+partWeight for those that were made by newList, newMapping and newRecord.
func weight(v ref.Val) int {
	switch v := v.(type) {
	case types.String:
		return partWeight + len(v)
	case types.Bytes:
		return partWeight + len(v)
	case *list:
		return v.weight
	case *mapping:
		return v.weight
	case *record:
		return v.weight
	case *types.Optional:
		if v.HasValue() {
			return partWeight + weight(v.GetValue())
		}
	case traits.Lister:
		if l, ok := newList(v).(*list); ok {
			return l.weight
		}
		return maxWeight + partWeight
	case traits.Mapper:
		if m, ok := newMapping(v).(*mapping); ok {
			return m.weight
		}
		return maxWeight + partWeight
	}
	return partWeight
}

func errTooHeavy() ref.Val {
	return types.NewErr("a list or map may have %d KiB with all that is in it", maxWeight>>10)
}

// text returns s as a value. As in encoding/json, each byte that is no valid UTF-8 becomes
// U+FFFD.
func text(s string) types.String {
	if !utf8.ValidString(s) {
		s = string([]rune(s))
	}
	return types.String(s)
}

// list is a list that knows its weight.
type list struct {
	traits.Lister
	weight int
}

// newList weighs a list. It returns an error for one that is too heavy.
func newList(l traits.Lister) ref.Val {
	if known, ok := l.(*list); ok {
		return known
	}
	total := partWeight
	for i := range l.Size().(types.Int) {
		total += weight(l.Get(i))
		if total > maxWeight {
			return errTooHeavy()
		}
	}
	return &list{Lister: l, weight: total}
}

func (l *list) Add(other ref.Val) ref.Val { return add(l, other) }

func (l *list) ConvertToType(t ref.Type) ref.Val {
	if t == types.ListType {
		return l
	}
	return l.Lister.ConvertToType(t)
}

func (l *list) IsZeroValue() bool { return l.Size() == types.IntZero }

func (l *list) String() string { return types.Format(l) }

// mapping is a map with keys of any kind that knows its weight, and whose keys come in
// order, since those of a Go map would give another result each time.
type mapping struct {
	traits.Mapper
	keys   []ref.Val
	weight int
}

// newMapping weighs a map. It returns an error for one that is too heavy.
func newMapping(m traits.Mapper) ref.Val {
	switch m := m.(type) {
	case *mapping, *record:
		return m
	}
	total := partWeight
	keys := make([]ref.Val, 0, m.Size().(types.Int))
	for it := m.Iterator(); it.HasNext() == types.True; {
		key := it.Next()
		value, _ := m.Find(key)
		total += weight(key)
		if value != nil {
			total += weight(value)
		}
		if total > maxWeight {
			return errTooHeavy()
		}
		keys = append(keys, key)
	}
	slices.SortFunc(keys, compareKeys)
	return &mapping{Mapper: m, keys: keys, weight: total}
}

// compareKeys orders numbers before texts.
func compareKeys(a, b ref.Val) int {
	s, isText := a.(types.String)
	t, isText2 := b.(types.String)
	if isText && isText2 {
		return strings.Compare(string(s), string(t))
	}
	if a.Type() != b.Type() {
		return cmp.Compare(a.Type().TypeName(), b.Type().TypeName())
	}
	if c, ok := a.(traits.Comparer); ok {
		if order, ok := c.Compare(b).(types.Int); ok {
			return int(order)
		}
	}
	return 0
}

func (m *mapping) Iterator() traits.Iterator { return &keyIterator{keys: m.keys} }

func (m *mapping) Fold(f traits.Folder) {
	for _, key := range m.keys {
		value, _ := m.Find(key)
		if !f.FoldEntry(key, value) {
			return
		}
	}
}

func (m *mapping) ConvertToType(t ref.Type) ref.Val {
	if t == types.MapType {
		return m
	}
	return m.Mapper.ConvertToType(t)
}

func (m *mapping) IsZeroValue() bool { return len(m.keys) == 0 }

func (m *mapping) String() string { return types.Format(m) }

// record is a map with texts as keys, in order. It is what JSON is read into: a Go map
// takes 300 bytes even for one entry.
type record struct {
	keys   []string
	values []ref.Val
	weight int
}

func newRecord(values map[string]ref.Val) *record {
	r := &record{keys: slices.Sorted(maps.Keys(values))}
	for _, key := range r.keys {
		r.values = append(r.values, values[key])
	}
	r.weigh()
	return r
}

func (r *record) weigh() {
	r.weight = partWeight
	for i, key := range r.keys {
		r.weight += partWeight + len(key) + weight(r.values[i])
	}
}

func (r *record) Find(key ref.Val) (ref.Val, bool) {
	s, ok := key.(types.String)
	if !ok {
		return nil, false
	}
	i, found := slices.BinarySearch(r.keys, string(s))
	if !found {
		return nil, false
	}
	return r.values[i], true
}

func (r *record) Get(key ref.Val) ref.Val {
	value, found := r.Find(key)
	if !found {
		return types.NewErr("no such key: %s", shown(key))
	}
	return value
}

func (r *record) Contains(key ref.Val) ref.Val {
	_, found := r.Find(key)
	return types.Bool(found)
}

func (r *record) Iterator() traits.Iterator {
	keys := make([]ref.Val, len(r.keys))
	for i, key := range r.keys {
		keys[i] = types.String(key)
	}
	return &keyIterator{keys: keys}
}

func (r *record) Fold(f traits.Folder) {
	for i, key := range r.keys {
		if !f.FoldEntry(types.String(key), r.values[i]) {
			return
		}
	}
}

func (r *record) Equal(other ref.Val) ref.Val {
	m, ok := other.(traits.Mapper)
	if !ok || m.Size() != r.Size() {
		return types.False
	}
	for i, key := range r.keys {
		value, found := m.Find(types.String(key))
		if !found || types.Equal(r.values[i], value) != types.True {
			return types.False
		}
	}
	return types.True
}

func (r *record) ConvertToNative(reflect.Type) (any, error) {
	return nil, fmt.Errorf("a map cannot be converted")
}

func (r *record) ConvertToType(t ref.Type) ref.Val {
	switch t {
	case types.MapType:
		return r
	case types.TypeType:
		return types.MapType
	}
	return types.NewErr("type conversion error from 'map' to '%s'", t.TypeName())
}

func (r *record) IsZeroValue() bool { return len(r.keys) == 0 }

func (r *record) Size() ref.Val { return types.Int(len(r.keys)) }

func (r *record) String() string { return types.Format(r) }

func (r *record) Type() ref.Type { return types.MapType }

func (r *record) Value() any { return r }

// keyIterator goes through the keys of a map.
type keyIterator struct {
	keys []ref.Val
	next int
}

func (it *keyIterator) HasNext() ref.Val { return types.Bool(it.next < len(it.keys)) }

func (it *keyIterator) Next() ref.Val {
	if it.next == len(it.keys) {
		return nil
	}
	it.next++
	return it.keys[it.next-1]
}

func (it *keyIterator) ConvertToNative(reflect.Type) (any, error) {
	return nil, fmt.Errorf("an iterator cannot be converted")
}
func (it *keyIterator) ConvertToType(ref.Type) ref.Val { return types.NoSuchOverloadErr() }
func (it *keyIterator) Equal(ref.Val) ref.Val          { return types.NoSuchOverloadErr() }
func (it *keyIterator) Type() ref.Type                 { return types.IteratorType }
func (it *keyIterator) Value() any                     { return nil }
