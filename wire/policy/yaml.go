package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/sigbox/sigbox"
)

// fromYAML makes nodes of one YAML document.
func fromYAML(b []byte) (*node, error) {
	doc, err := decode(b)
	switch {
	case err != nil:
		return nil, err
	case len(doc.Content) == 0:
		return nil, empty()
	}
	return fromNode(doc.Content[0], 0)
}

// decode reads the one document that there is to be.
func decode(b []byte) (doc *yaml.Node, err error) {
	// The parser panics where it contradicts itself.
	defer func() {
		if found := recover(); found != nil {
			doc, err = nil, syntax(fmt.Errorf("%v", found))
		}
	}()
	d := yaml.NewDecoder(bytes.NewReader(b))
	doc = new(yaml.Node)
	if err := d.Decode(doc); errors.Is(err, io.EOF) {
		return nil, empty()
	} else if err != nil {
		return nil, syntax(err)
	}
	next := new(yaml.Node)
	if err := d.Decode(next); !errors.Is(err, io.EOF) {
		return nil, sigbox.Errorf(sigbox.Invalid, "policy: expected one YAML document, found more after it")
	}
	return doc, nil
}

func empty() error {
	return sigbox.Errorf(sigbox.Invalid, "policy: it is empty").WithHint("docs/policy.md has examples")
}

func syntax(err error) error {
	return sigbox.Errorf(sigbox.Invalid, "policy: not valid YAML: %.200s", strings.TrimPrefix(err.Error(), "yaml: ")).
		WithHint("text with any of \\ * & ! # : { [ in it, as regular expressions have, is best put in single quotes")
}

func fromNode(y *yaml.Node, depth int) (*node, error) {
	n := &node{text: y.Value, line: y.Line, column: y.Column}
	switch {
	case y.Kind == yaml.AliasNode:
		return nil, n.errorf("", "aliases are not read, found *%.40s", y.Value).WithHint("repeat the value, or put text that begins with * in quotes")
	case y.Anchor != "":
		return nil, n.errorf("", "anchors are not read, found &%.40s", y.Anchor).WithHint("put text that begins with & in quotes")
	case y.Style&yaml.TaggedStyle != 0:
		return nil, n.errorf("", "tags are not read, found %.40s", y.Tag).WithHint("put text that begins with ! in quotes")
	case y.Kind == yaml.ScalarNode:
		n.kind = kindOf(y)
		return n, nil
	case depth == maxDepth:
		return nil, n.tooDeep()
	}
	n.kind = list
	if y.Kind == yaml.MappingNode {
		n.kind = object
	}
	for i, content := range y.Content {
		if content.Tag == "!!merge" {
			return nil, (&node{line: content.Line, column: content.Column}).errorf("", "merge keys are not read, found <<")
		}
		v, err := fromNode(content, depth+1)
		if err != nil {
			return nil, err
		}
		if n.kind == object && i%2 == 0 {
			n.names = append(n.names, v)
		} else {
			n.values = append(n.values, v)
		}
	}
	return n, nil
}

// kindOf says what a scalar is. What is plain and a boolean for YAML 1.1 alone is
// one here too: it has to be put in quotes.
func kindOf(y *yaml.Node) kind {
	switch y.Tag {
	case "!!int", "!!float":
		return number
	case "!!bool":
		return boolean
	case "!!timestamp":
		return moment
	case "!!null":
		return nothing
	}
	if y.Style == 0 && slices.Contains(oldBooleans(), strings.ToLower(y.Value)) {
		return boolean
	}
	return text
}

// oldBooleans are those of YAML 1.1 that later versions take for text.
//
// Source: https://yaml.org/type/bool.html
func oldBooleans() []string { return []string{"y", "n", "yes", "no", "on", "off"} }

// appendYAML writes nodes as a person would.
func appendYAML(n *node) ([]byte, error) {
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	err := e.Encode(toNode(n))
	if err == nil {
		err = e.Close()
	}
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "policy: it cannot be written").WithCause(err)
	}
	return out.Bytes(), nil
}

func toNode(n *node) *yaml.Node {
	y := &yaml.Node{Value: n.text}
	switch n.kind {
	case object:
		y.Kind = yaml.MappingNode
	case list:
		y.Kind = yaml.SequenceNode
	case text:
		y.Kind, y.Tag, y.Style = yaml.ScalarNode, "!!str", style(n.text)
	default: // numbers, which are as JSON has them
		y.Kind = yaml.ScalarNode
	}
	for i, v := range n.values {
		if n.kind == object {
			y.Content = append(y.Content, toNode(n.names[i]))
		}
		y.Content = append(y.Content, toNode(v))
	}
	return y
}

// style chooses how a text is written. In single quotes nothing is escaped, so
// that a regular expression reads as it is; the encoder uses double ones where
// there have to be.
func style(s string) yaml.Style {
	plain := yaml.Node{Kind: yaml.ScalarNode, Value: s}
	switch {
	case strings.Contains(s, "\n") && !strings.ContainsAny(s[:1], " \t\n"): // of which the indentation is clear
		return yaml.LiteralStyle
	case strings.ContainsAny(s, "\n\t"):
		return yaml.DoubleQuotedStyle
	case strings.ContainsFunc(s, func(r rune) bool { return r > '~' && !unicode.IsPrint(r) }):
		return yaml.DoubleQuotedStyle
	case strings.ContainsAny(s, `\*+?|()[]{}^$`):
		return yaml.SingleQuotedStyle
	}
	plain.Tag = plain.ShortTag()
	if kindOf(&plain) == text {
		return 0
	}
	return yaml.DoubleQuotedStyle
}
