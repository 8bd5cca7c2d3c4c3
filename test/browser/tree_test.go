package browser

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
)

// node is one of the accessibility tree: what assistive technology is told of an
// element.
type node struct {
	// role is ARIA's, or Chromium's own where ARIA has none, such as
	// DisclosureTriangle for a summary.
	role string
	// name, value and description have no white space but single spaces.
	name, value, description string
	// states are those that are set, such as focused, checked and disabled, by name.
	states map[string]string

	id       cdp.BackendNodeID
	parent   *node
	children []*node
}

// tree builds a tree from what the browser says, which is flat, root first. Nodes that
// assistive technology is not told of are left out, and their children are those of
// the next one above.
func tree(flat []*accessibility.Node) *node {
	if len(flat) == 0 {
		return &node{}
	}
	byID := make(map[accessibility.NodeID]*accessibility.Node, len(flat))
	for _, n := range flat {
		byID[n.NodeID] = n
	}
	var add func(parent *node, n *accessibility.Node)
	add = func(parent *node, n *accessibility.Node) {
		at := parent
		if role := textOf(n.Role); !n.Ignored && role != "none" && role != "InlineTextBox" {
			at = &node{
				role: role, name: textOf(n.Name), value: textOf(n.Value), description: textOf(n.Description),
				states: states(n), id: n.BackendDOMNodeID, parent: parent,
			}
			parent.children = append(parent.children, at)
		}
		for _, id := range n.ChildIDs {
			if child := byID[id]; child != nil {
				add(at, child)
			}
		}
	}
	root := &node{}
	add(root, flat[0])
	return root
}

func states(n *accessibility.Node) map[string]string {
	set := map[string]string{}
	for _, p := range n.Properties {
		switch value := textOf(p.Value); p.Name {
		case "focused", "checked", "disabled", "expanded", "selected", "pressed", "invalid", "required", "readonly",
			"busy", "live", "modal":
			if value != "" && value != "false" && value != "off" {
				set[string(p.Name)] = value
			} else if p.Name == "expanded" {
				set["expanded"] = "false"
			}
		}
	}
	return set
}

// textOf is a value as text.
func textOf(v *accessibility.Value) string {
	if v == nil || len(v.Value) == 0 {
		return ""
	}
	var value any
	if err := json.Unmarshal(v.Value, &value); err != nil || value == nil {
		return ""
	}
	return squeeze(fmt.Sprint(value))
}

// squeeze makes single spaces of all white space.
func squeeze(s string) string { return strings.Join(strings.Fields(s), " ") }

// all are the nodes below this one that the condition holds for, in the order of the
// page.
func (n *node) all(condition func(*node) bool) []*node {
	var found []*node
	for _, child := range n.children {
		if condition(child) {
			found = append(found, child)
		}
		found = append(found, child.all(condition)...)
	}
	return found
}

// text is what can be read in the node.
func (n *node) text() string {
	if n.role == "StaticText" {
		return n.name
	}
	var parts []string
	for _, child := range n.children {
		if text := child.text(); text != "" {
			parts = append(parts, text)
		}
	}
	if len(parts) == 0 {
		return strings.TrimSpace(n.name + " " + n.value)
	}
	return strings.Join(parts, " ")
}

// String is the node without its children, such as `button "Resend" (focused)`.
func (n *node) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %q", n.role, n.name)
	if n.value != "" {
		fmt.Fprintf(&b, " = %q", n.value)
	}
	for _, state := range slices.Sorted(maps.Keys(n.states)) {
		if value := n.states[state]; value == "true" {
			fmt.Fprintf(&b, " (%s)", state)
		} else {
			fmt.Fprintf(&b, " (%s: %s)", state, value)
		}
	}
	return b.String()
}

// outline is the tree below the node, a line for each node that says something.
func (n *node) outline() string {
	var b strings.Builder
	var write func(n *node, depth int)
	write = func(n *node, depth int) {
		for _, child := range n.children {
			// A text that is all there is of what it names says nothing new.
			if child.role == "StaticText" && child.name == n.name {
				continue
			}
			next := depth
			if child.name != "" || child.value != "" || child.role != "generic" {
				fmt.Fprintf(&b, "%s%s\n", strings.Repeat("  ", depth), child)
				next++
			}
			write(child, next)
		}
	}
	write(n, 0)
	return b.String()
}
