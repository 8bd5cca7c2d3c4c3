package expression

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
)

// parseJSON reads a text as JSON, with values that weigh up to limit. Whole numbers stay exact
// as far as 64 bits go; the last of equal keys counts.
func parseJSON(s string, limit int) ref.Val {
	if len(s) > MaxText {
		return types.NewErr("no JSON is read from a text of more than %d KiB", MaxText>>10)
	}
	if !json.Valid([]byte(s)) {
		return types.NewErr("no JSON: %s", jsonProblem(s))
	}
	p := jsonParser{rest: strings.TrimLeft(s, jsonSpace), limit: limit / partWeight}
	v, err := p.value(0)
	if err != nil {
		return types.WrapErr(err)
	}
	return v
}

// jsonProblem is what is wrong with a text.
func jsonProblem(s string) string {
	if strings.Trim(s, jsonSpace) == "" {
		return "the text is empty"
	}
	var v json.RawMessage
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		return err.Error()
	}
	return "the text cannot be read"
}

const jsonSpace = " \t\r\n"

// jsonParser reads a text that is valid JSON.
type jsonParser struct {
	rest string
	// values is how many there were, keys too, and limit how many there may be.
	values, limit int
}

// next takes the first character off and the space behind it.
func (p *jsonParser) next() byte {
	c := p.rest[0]
	p.skip(1)
	return c
}

func (p *jsonParser) skip(n int) { p.rest = strings.TrimLeft(p.rest[n:], jsonSpace) }

func (p *jsonParser) count() error {
	if p.values++; p.values > p.limit {
		return fmt.Errorf("JSON with more than %d keys and values", p.limit)
	}
	return nil
}

func (p *jsonParser) value(depth int) (ref.Val, error) {
	if err := p.count(); err != nil {
		return nil, err
	}
	switch p.rest[0] {
	case '{', '[':
		if depth == MaxDepth {
			return nil, fmt.Errorf("JSON that is nested more than %d deep", MaxDepth)
		}
		if p.next() == '{' {
			return p.object(depth + 1)
		}
		return p.array(depth + 1)
	case '"':
		s, err := p.text()
		return types.String(s), err
	case 't':
		p.skip(len("true"))
		return types.True, nil
	case 'f':
		p.skip(len("false"))
		return types.False, nil
	case 'n':
		p.skip(len("null"))
		return types.NullValue, nil
	}
	return p.number()
}

func (p *jsonParser) array(depth int) (ref.Val, error) {
	var elements []ref.Val
	for p.rest[0] != ']' {
		v, err := p.value(depth)
		if err != nil {
			return nil, err
		}
		elements = append(elements, v)
		if p.rest[0] == ',' {
			p.next()
		}
	}
	p.next()
	l := newList(types.NewRefValList(types.DefaultTypeAdapter, elements))
	if err, failed := l.(*types.Err); failed {
		return nil, err
	}
	return l, nil
}

func (p *jsonParser) object(depth int) (ref.Val, error) {
	r := &record{}
	sorted := true
	for p.rest[0] != '}' {
		if err := p.count(); err != nil {
			return nil, err
		}
		key, err := p.text()
		if err != nil {
			return nil, err
		}
		p.next() // the colon
		v, err := p.value(depth)
		if err != nil {
			return nil, err
		}
		if n := len(r.keys); n > 0 && r.keys[n-1] >= key {
			sorted = false
		}
		r.keys, r.values = append(r.keys, key), append(r.values, v)
		if p.rest[0] == ',' {
			p.next()
		}
	}
	p.next()
	if !sorted {
		r.sort()
	}
	if r.weigh(); r.weight > maxWeight {
		return nil, errTooHeavy().(*types.Err)
	}
	return r, nil
}

// sort puts the keys in order and drops all but the last of equal ones.
func (r *record) sort() {
	order := make([]int, len(r.keys))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return strings.Compare(r.keys[i], r.keys[j]) })
	keys, values := make([]string, 0, len(order)), make([]ref.Val, 0, len(order))
	for _, i := range order {
		if n := len(keys); n > 0 && keys[n-1] == r.keys[i] {
			values[n-1] = r.values[i]
			continue
		}
		keys, values = append(keys, r.keys[i]), append(values, r.values[i])
	}
	r.keys, r.values = keys, values
}

func (p *jsonParser) text() (string, error) {
	end, plain := 1, true
	for ; p.rest[end] != '"'; end++ {
		if p.rest[end] == '\\' {
			plain = false
			end++
		}
	}
	quoted := p.rest[:end+1]
	p.skip(end + 1)
	if plain {
		return string(text(quoted[1:end])), nil
	}
	var s string
	if err := json.Unmarshal([]byte(quoted), &s); err != nil {
		return "", err
	}
	return s, nil
}

func (p *jsonParser) number() (ref.Val, error) {
	end := strings.IndexFunc(p.rest, func(c rune) bool { return !strings.ContainsRune("+-.0123456789eE", c) })
	if end < 0 {
		end = len(p.rest)
	}
	number := p.rest[:end]
	p.skip(end)
	if !strings.ContainsAny(number, ".eE") {
		if i, err := strconv.ParseInt(number, 10, 64); err == nil {
			return types.Int(i), nil
		}
		if u, err := strconv.ParseUint(number, 10, 64); err == nil {
			return types.Uint(u), nil
		}
	}
	f, err := strconv.ParseFloat(number, 64)
	if errors.Is(err, strconv.ErrRange) {
		return nil, fmt.Errorf("JSON with the number %s, which is too large", truncate(number, 64))
	}
	return types.Double(f), err
}
