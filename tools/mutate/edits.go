package main

import (
	"bytes"
	"maps"
	"slices"
)

// edits are insertions into a file, by offset, and removals. Outer nodes are opened
// before inner ones, so that where several begin or end they nest.
type edits struct {
	opening, closing map[int][]string
	removed          map[int]int // lengths
}

func (e *edits) open(at int, text string) {
	if e.opening == nil {
		e.opening, e.closing, e.removed = map[int][]string{}, map[int][]string{}, map[int]int{}
	}
	e.opening[at] = append(e.opening[at], text)
}

func (e *edits) close(at int, text string) { e.closing[at] = append(e.closing[at], text) }

// remove takes n bytes out, at a place where something was opened.
func (e *edits) remove(at, n int) { e.removed[at] = n }

func (e *edits) apply(source []byte) []byte {
	all := maps.Clone(e.opening)
	maps.Copy(all, e.closing)
	var out bytes.Buffer
	done := 0
	for _, at := range slices.Sorted(maps.Keys(all)) {
		out.Write(source[done:at])
		done = at + e.removed[at]
		for _, text := range slices.Backward(e.closing[at]) {
			out.WriteString(text)
		}
		for _, text := range e.opening[at] {
			out.WriteString(text)
		}
	}
	out.Write(source[done:])
	return out.Bytes()
}
