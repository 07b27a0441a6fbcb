package sigboxtest

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// element is a DER element. What is in an OCTET STRING or BIT STRING and is itself
// DER is taken apart too.
type element struct {
	tag      byte
	content  []byte // of an element without children, or what stands before them
	children []*element
	long     bool // the length is written with a byte more than it needs
}

const maxElements = 4096

// parseDER takes DER apart, or gives nil.
func parseDER(der []byte) []*element {
	left := maxElements
	all, ok := readElements(der, &left)
	if !ok {
		return nil
	}
	return all
}

func readElements(der []byte, left *int) (out []*element, ok bool) {
	for s := cryptobyte.String(der); !s.Empty(); {
		var content cryptobyte.String
		var tag asn1.Tag
		if *left--; *left < 0 || !s.ReadAnyASN1(&content, &tag) {
			return nil, false
		}
		e := &element{tag: byte(tag)}
		switch {
		case tag&0x20 != 0:
			if e.children, ok = readElements(content, left); !ok {
				return nil, false
			}
		case tag == asn1.OCTET_STRING && looksLikeDER(content):
			if e.children, ok = readElements(content, left); !ok {
				e.children, e.content = nil, content
			}
		case tag == asn1.BIT_STRING && len(content) > 1 && looksLikeDER(content[1:]):
			e.content = content[:1] // the number of unused bits
			if e.children, ok = readElements(content[1:], left); !ok {
				e.children, e.content = nil, content
			}
		default:
			e.content = content
		}
		out = append(out, e)
	}
	return out, true
}

// looksLikeDER spares a hash that happens to start like an element.
func looksLikeDER(b []byte) bool {
	s := cryptobyte.String(b)
	var content cryptobyte.String
	return s.ReadASN1(&content, asn1.SEQUENCE) && s.Empty()
}

func appendElements(dst []byte, all []*element) []byte {
	for _, e := range all {
		dst = e.append(dst)
	}
	return dst
}

func (e *element) append(dst []byte) []byte {
	content := appendElements(slices.Clip(e.content), e.children)
	return append(e.appendHeader(dst, len(content)), content...)
}

func (e *element) appendHeader(dst []byte, n int) []byte {
	dst = append(dst, e.tag)
	var length []byte
	for v := n; v > 0; v >>= 8 {
		length = append([]byte{byte(v)}, length...)
	}
	switch {
	case e.long && len(length) == 0:
		return append(dst, 0x81, 0)
	case e.long && n >= 0x80:
		length = append([]byte{0}, length...)
	case !e.long && n < 0x80:
		return append(dst, byte(n))
	}
	return append(append(dst, 0x80|byte(len(length))), length...)
}

// derEdits changes each element of DER: all lengths around it are kept right, but
// for the changes that are of a length.
func derEdits(der []byte, seed uint64) edits {
	return func(yield func(edit, []byte) bool) {
		d := &derEditor{root: parseDER(der), random: randomFor(seed, hex.EncodeToString(der[:min(len(der), 4)])), yield: yield}
		d.elements("", d.root)
	}
}

type derEditor struct {
	root   []*element
	random *rand.Rand
	yield  func(edit, []byte) bool
}

// try hands out what there is now.
func (d *derEditor) try(path, what string) bool {
	return d.yield(edit{"", "element " + path + " " + what}, appendElements(nil, d.root))
}

// put has v stand in the place of e for a moment.
func (d *derEditor) put(path, what string, e *element, v element) bool {
	old := *e
	*e = v
	ok := d.try(path, what)
	*e = old
	return ok
}

// elements changes elements and what is in them. Paths count from 1, as openssl
// asn1parse shows them.
func (d *derEditor) elements(parent string, all []*element) bool {
	for i, e := range all {
		path := fmt.Sprintf("%s.%d", parent, i+1)
		if parent == "" {
			path = path[1:]
		}
		if !d.element(path, e) || !d.elements(path, e.children) {
			return false
		}
	}
	return true
}

func (d *derEditor) element(path string, e *element) bool {
	n := len(appendElements(slices.Clip(e.content), e.children))
	for _, v := range []named[element]{
		{"emptied", element{tag: e.tag}},
		{"of another tag", element{e.tag ^ 1, e.content, e.children, false}},
		{"with a constructed tag changed", element{e.tag ^ 0x20, e.content, e.children, false}},
		{"with a longer length", element{e.tag, e.content, e.children, true}},
		{"with NULL at its end", element{e.tag, e.content, append(slices.Clip(e.children), &element{tag: 5}), false}},
	} {
		if !d.put(path, v.what, e, v.value) {
			return false
		}
	}
	if len(e.children) > 0 {
		return d.families(path, e)
	}
	return d.primitive(path, e, n)
}

// families changes what an element holds: each child away, or twice.
func (d *derEditor) families(path string, e *element) bool {
	for i := range e.children {
		without := slices.Delete(slices.Clone(e.children), i, i+1)
		twice := slices.Insert(slices.Clone(e.children), i, e.children[i])
		if !d.put(path, fmt.Sprintf("without child %d", i+1), e, element{e.tag, e.content, without, false}) ||
			!d.put(path, fmt.Sprintf("with child %d twice", i+1), e, element{e.tag, e.content, twice, false}) {
			return false
		}
	}
	return true
}

// primitive changes an element's bytes: a bit, the length, a zero byte before.
func (d *derEditor) primitive(path string, e *element, n int) bool {
	if n == 0 {
		return true
	}
	flipped := bytes.Clone(e.content)
	bit := d.random.IntN(n * 8)
	flipped[bit/8] ^= 0x80 >> (bit % 8)
	return d.put(path, fmt.Sprintf("with bit %d of byte %d flipped", bit%8, bit/8), e, element{e.tag, flipped, nil, false}) &&
		d.put(path, "cut by 1 byte", e, element{e.tag, e.content[:n-1], nil, false}) &&
		d.put(path, "with a zero byte before", e, element{e.tag, append([]byte{0}, e.content...), nil, false}) &&
		d.put(path, "with a zero byte behind", e, element{e.tag, append(bytes.Clone(e.content), 0), nil, false})
}
