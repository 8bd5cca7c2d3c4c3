package format

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// codes are those of a service that tells in the body of a 200 what it thinks of a message.
type codes struct {
	// code and text are the names of the fields; a code of 0 is a success.
	code, text string
	// final are those that no retry would mend, with what a person has to know.
	final map[int64]string
	// tooFast are those of a service that was sent too much.
	tooFast []int64
}

// judge does not accept what it cannot read: that is no answer of the service.
func (c codes) judge(_ int, body []byte) Verdict {
	fields, err := fieldsOf(body)
	if err != nil {
		return Verdict{Refused: true, Why: err.Error()}
	}
	var code *int64
	if err := json.Unmarshal(fields[c.code], &code); err != nil || code == nil {
		return Verdict{Refused: true, Why: fmt.Sprintf("the answer has no %s", c.code)}
	}
	if *code == 0 {
		return Verdict{}
	}
	var said string
	_ = json.Unmarshal(fields[c.text], &said) // it may be missing
	v := Verdict{Refused: true, Why: fmt.Sprintf("%s %d: %s", c.code, *code, said)}
	if meaning, ok := c.final[*code]; ok {
		v.Final = true
		v.Why += " (" + meaning + ")"
	}
	if slices.Contains(c.tooFast, *code) {
		v.Rest = untilSpanIsOver
	}
	return v
}

// fieldsOf reads a JSON object. What has a field twice says two things, so it is refused.
func fieldsOf(body []byte) (map[string]json.RawMessage, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return nil, errors.New("the answer is not JSON")
	}
	d, seen := json.NewDecoder(bytes.NewReader(body)), 0
	_, _ = d.Token() // the brace, or null
	for ; d.More(); seen++ {
		var value json.RawMessage
		if _, err := d.Token(); err != nil || d.Decode(&value) != nil {
			return nil, errors.New("the answer is not JSON")
		}
	}
	if seen > len(fields) {
		return nil, errors.New("the answer has a field twice")
	}
	return fields, nil
}
