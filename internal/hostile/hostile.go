// Package hostile makes inputs that cost their reader more than their sender, and
// holds readers to a bound. It is for tests:
//
//	func TestLimits(t *testing.T)         { hostile.Test(t, parse, inputs()...) }
//	func BenchmarkHostile(b *testing.B)   { hostile.Benchmark(b, parse, inputs()...) }
package hostile

import (
	"runtime"
	"strconv"
	"strings"
	"testing"
)

const (
	// Size is how large inputs are made, in bytes.
	Size = 16 << 20
	// MaxAllocated is how many bytes reading one may allocate, all allocations
	// taken together: more than it ever holds at once.
	MaxAllocated = 64 << 20
	// maxError bounds the message of an error, in bytes: it may quote the sender,
	// but not at length.
	maxError = 4 << 10
)

// Input is something hostile, made when it is needed.
type Input struct {
	Name string
	Make func() []byte
}

// Fill is head, units until [Size] is reached, and tail. A "#" in unit becomes the
// unit's number in digits of base 36.
func Fill(name, head, unit, tail string) Input {
	return FillTo(name, Size, head, unit, tail)
}

// FillTo is [Fill] up to a size in bytes.
func FillTo(name string, size int, head, unit, tail string) Input {
	return Input{name, func() []byte {
		b := append(make([]byte, 0, size), head...)
		before, after, numbered := strings.Cut(unit, "#")
		if !numbered {
			n := (size - len(head) - len(tail)) / len(unit)
			return append(append(b, strings.Repeat(unit, n)...), tail...)
		}
		// A number has at most five digits: 36^5 units do not fit.
		for i := int64(0); len(b)+len(unit)+5+len(tail) <= size; i++ {
			b = append(b, before...)
			b = strconv.AppendInt(b, i, 36)
			b = append(b, after...)
		}
		return append(b, tail...)
	}}
}

// JSON is hostile to whatever reads JSON.
func JSON() []Input {
	return []Input{
		Fill("nothing but space", "", " ", ""),
		Fill("deep lists", "", "[", ""),
		Fill("deep objects", "", `{"a":`, ""),
		Fill("a wide list", "[", "0,", "0]"),
		Fill("empty objects", "[", "{},", "{}]"),
		Fill("tiny members", "{", `"#":0,`, `"":0}`),
		Fill("the same member", "{", `"a":0,`, `"a":0}`),
		Fill("a long name", `{"`, "a", `":0}`),
		Fill("a long name of escapes", `{"`, `\u0061`, `":0}`),
		Fill("a long string", `"`, "a", `"`),
		Fill("a long string of escapes", `"`, `\n`, `"`),
		Fill("a long number", "", "1", ""),
		Fill("an open string", `{"`, "a", ""),
		Fill("bytes that are no text", "\"", "\xff", "\""),
	}
}

// Member is hostile as the value of one member: doc has a "@" where it stands.
// Strings of base64 and of line ends, lists and objects.
func Member(name, doc string) []Input {
	head, tail, _ := strings.Cut(doc, "@")
	fill := func(what, open, unit, end string) Input {
		return Fill(name+": "+what, head+open, unit, end+tail)
	}
	return []Input{
		fill("base64 of escapes", `"`, `\u0041`, `"`),
		fill("base64 in lines", `"`, `AA\n`, `"`),
		fill("line ends", `"`, `\r\n`, `"`),
		fill("a wide list", "[", "0,", "0]"),
		fill("deep lists", "", "[", ""),
		fill("tiny members", "{", `"#":0,`, `"":0}`),
	}
}

// DER is hostile to whatever reads DER of up to limit bytes: inputs of that size
// and of [Size].
func DER(limit int) []Input {
	var inputs []Input
	for name, size := range map[string]int{"as much as is read": limit, "16 MB": Size} {
		fill := func(what, head, unit string) {
			inputs = append(inputs, FillTo(what+", "+name, size, head, unit, ""))
		}
		// Lengths of four octets, which claim what may not be there.
		length := string([]byte{0x84, byte((size - 6) >> 24), byte((size - 6) >> 16), byte((size - 6) >> 8), byte(size - 6)}) // #nosec G115 -- the octets of a number
		fill("zeros", "", "\x00")
		fill("sequences of indefinite length", "", "\x30\x80")
		fill("sequences of all there is", "", "\x30\x84\x7f\xff\xff\xff")
		fill("lengths of eight octets", "", "\x30\x88\xff\xff\xff\xff\xff\xff\xff\xff")
		fill("empty sequences", "\x30"+length, "\x30\x00")
		fill("nulls", "\x30"+length, "\x05\x00")
		fill("a long integer", "\x02"+length, "\x7f")
		fill("a long object identifier", "\x06"+length, "\x86")
		fill("a long text", "\x0c"+length, "a")
		inputs = append(inputs, Input{"nested sequences, " + name, func() []byte { return nested(size) }})
	}
	return inputs
}

// nested is sequences in sequences, each of the right length.
func nested(size int) []byte {
	b := make([]byte, 0, size)
	for n := size - 5; n >= 0; n -= 5 {
		b = append(b, 0x30, 0x83, byte(n>>16), byte(n>>8), byte(n)) // #nosec G115 -- the octets of a number
	}
	return b
}

// Allocated gives how many bytes f allocates. Nothing else may run.
func Allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// Test has each input read and fails if that allocates more than [MaxAllocated],
// or gives an error without end. It must not run beside other tests. Time is not
// judged here; see [Benchmark]. Under the race detector one input in sixteen is
// read: it makes that ten times as slow, and one goroutine has no races.
func Test(t *testing.T, read func([]byte) error, inputs ...Input) {
	t.Helper()
	if underRace {
		inputs = some(inputs, 16)
	}
	for _, in := range inputs {
		t.Run(in.Name, func(t *testing.T) {
			data := in.Make()
			var err error
			n := Allocated(func() { err = read(data) })
			if n > MaxAllocated {
				t.Errorf("%d bytes of input take %d bytes, at most %d are allowed (%.200v)", len(data), n, MaxAllocated, err)
			}
			if err != nil && len(err.Error()) > maxError {
				t.Errorf("an error of %d bytes: %.200s…", len(err.Error()), err.Error())
			}
		})
	}
}

// some gives one input in so many.
func some(inputs []Input, many int) []Input {
	var out []Input
	for i := 0; i < len(inputs); i += many {
		out = append(out, inputs[i])
	}
	return out
}

// Benchmark measures how long each input takes. The aim is under a second.
func Benchmark(b *testing.B, read func([]byte) error, inputs ...Input) {
	for _, in := range inputs {
		b.Run(in.Name, func(b *testing.B) {
			data := in.Make()
			b.ReportAllocs()
			for b.Loop() {
				_ = read(data) // refused or not: the time is the same question
			}
		})
	}
}
