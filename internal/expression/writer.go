package expression

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
)

// writeJSON writes a value as encoding/json would, with keys in order, whole numbers exact
// and without escaping for HTML. What JSON has no word for is an error that names the place.
func writeJSON(v ref.Val) ([]byte, error) {
	w := jsonWriter{buffer: make([]byte, 0, 512)}
	if err := w.value(v, 0); err != nil {
		if len(w.path) == 0 {
			return nil, err
		}
		return nil, fmt.Errorf("at %s: %w", w.place(), err)
	}
	return w.buffer, nil
}

type jsonWriter struct {
	buffer []byte
	// path leads to the value that is being written.
	path []step
}

// step is a key of a map, where index is -1, or an index of a list.
type step struct {
	key   string
	index int
}

// place is the path as an expression would say it.
func (w *jsonWriter) place() string {
	var b strings.Builder
	for i, s := range w.path {
		switch {
		case s.index >= 0:
			b.WriteString("[" + strconv.Itoa(s.index) + "]")
		case i > 0:
			b.WriteString("." + truncate(s.key, 64))
		default:
			b.WriteString(truncate(s.key, 64))
		}
	}
	return truncate(printable(b.String()), 200)
}

func (w *jsonWriter) value(v ref.Val, depth int) error {
	switch v := v.(type) {
	case types.Null:
		w.buffer = append(w.buffer, "null"...)
	case types.Bool:
		w.buffer = strconv.AppendBool(w.buffer, bool(v))
	case types.Int:
		w.buffer = strconv.AppendInt(w.buffer, int64(v), 10)
	case types.Uint:
		w.buffer = strconv.AppendUint(w.buffer, uint64(v), 10)
	case types.Double:
		return w.double(float64(v))
	case types.String:
		w.text(string(v))
	case types.Timestamp:
		w.text(v.UTC().Format(time.RFC3339Nano))
	case traits.Lister:
		return w.list(v, depth)
	case traits.Mapper:
		return w.mapping(v, depth)
	case types.Bytes:
		return fmt.Errorf("bytes have no place in JSON; string() makes a text of them")
	case types.Duration:
		return fmt.Errorf("a duration has no place in JSON; string() makes a text of it")
	case *types.Optional:
		return fmt.Errorf("an optional value has no place in JSON; use orValue(), or write ? before the key")
	case *object:
		return fmt.Errorf("%s has no place in JSON; name its fields", v)
	default:
		return fmt.Errorf("%s has no place in JSON", inWords(v))
	}
	return w.check()
}

// check bounds the body.
func (w *jsonWriter) check() error {
	if len(w.buffer) > MaxBody {
		w.path = nil
		return fmt.Errorf("the body is larger than %d KiB", MaxBody>>10)
	}
	return nil
}

func (w *jsonWriter) double(f float64) error {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return fmt.Errorf("the number %v has no place in JSON", f)
	}
	written, err := json.Marshal(f)
	if err != nil {
		return err
	}
	w.buffer = append(w.buffer, written...)
	return w.check()
}

func (w *jsonWriter) list(l traits.Lister, depth int) error {
	if depth == MaxDepth {
		return errTooDeep()
	}
	w.buffer = append(w.buffer, '[')
	for i := range l.Size().(types.Int) {
		if i > 0 {
			w.buffer = append(w.buffer, ',')
		}
		w.path = append(w.path, step{index: int(i)})
		if err := w.value(l.Get(i), depth+1); err != nil {
			return err
		}
		w.path = w.path[:len(w.path)-1]
	}
	w.buffer = append(w.buffer, ']')
	return w.check()
}

func (w *jsonWriter) mapping(m traits.Mapper, depth int) error {
	if depth == MaxDepth {
		return errTooDeep()
	}
	keys := make([]string, 0, m.Size().(types.Int))
	for it := m.Iterator(); it.HasNext() == types.True; {
		key, ok := it.Next().(types.String)
		if !ok {
			return fmt.Errorf("a map in JSON has texts as keys, and this one has others; string() makes a text of a key")
		}
		keys = append(keys, string(key))
	}
	slices.Sort(keys)
	w.buffer = append(w.buffer, '{')
	for i, key := range keys {
		if i > 0 {
			w.buffer = append(w.buffer, ',')
		}
		w.text(key)
		w.buffer = append(w.buffer, ':')
		w.path = append(w.path, step{key, -1})
		v, _ := m.Find(types.String(key))
		if err := w.value(v, depth+1); err != nil {
			return err
		}
		w.path = w.path[:len(w.path)-1]
	}
	w.buffer = append(w.buffer, '}')
	return w.check()
}

func errTooDeep() error {
	return fmt.Errorf("maps and lists are nested more than %d deep", MaxDepth)
}

const hexDigits = "0123456789abcdef"

// text writes a text with the escapes of encoding/json.
func (w *jsonWriter) text(s string) {
	w.buffer = append(w.buffer, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		size, escape := 1, ""
		if c >= utf8.RuneSelf {
			var r rune
			r, size = utf8.DecodeRuneInString(s[i:])
			switch {
			case r == utf8.RuneError && size == 1:
				escape = `\ufffd`
			case r == '\u2028':
				escape = `\u2028`
			case r == '\u2029':
				escape = `\u2029`
			default:
				i += size
				continue
			}
		}
		w.buffer = append(w.buffer, s[start:i]...)
		switch c {
		case '"', '\\':
			w.buffer = append(w.buffer, '\\', c)
		case '\b':
			w.buffer = append(w.buffer, `\b`...)
		case '\f':
			w.buffer = append(w.buffer, `\f`...)
		case '\n':
			w.buffer = append(w.buffer, `\n`...)
		case '\r':
			w.buffer = append(w.buffer, `\r`...)
		case '\t':
			w.buffer = append(w.buffer, `\t`...)
		default:
			if escape == "" {
				escape = string([]byte{'\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf]})
			}
			w.buffer = append(w.buffer, escape...)
		}
		i += size
		start = i
	}
	w.buffer = append(w.buffer, s[start:]...)
	w.buffer = append(w.buffer, '"')
}
