package roomview

// object is one of a body, which may have anything anywhere.
type object map[string]any

// of returns the object of a field; nil where it has none.
func (o object) of(name string) object {
	inner, _ := o[name].(map[string]any)
	return inner
}

// text returns the text of a field; empty where it has none.
func (o object) text(name string) string {
	s, _ := o[name].(string)
	return s
}

// list returns the list of a field.
func (o object) list(name string) []any {
	all, _ := o[name].([]any)
	return all
}

// objects returns those of a list.
func (o object) objects(name string) []object {
	var all []object
	for _, one := range o.list(name) {
		if inner, ok := one.(map[string]any); ok {
			all = append(all, inner)
		}
	}
	return all
}

// texts returns those of a list.
func (o object) texts(name string) []string {
	var all []string
	for _, one := range o.list(name) {
		if s, ok := one.(string); ok {
			all = append(all, s)
		}
	}
	return all
}
