package sigboxtest

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"
)

// edit is a place and what was done there.
type edit struct{ place, change string }

// edits are changed versions of a text.
type edits = iter.Seq2[edit, []byte]

// jsonEdits changes a JSON document, and what its strings hold as far as depth is 0.
func jsonEdits(text []byte, seed uint64, depth int) edits {
	return func(yield func(edit, []byte) bool) {
		root, err := parseTree(text)
		if err != nil {
			return
		}
		e := &jsonEditor{root: root, plain: root.append(nil), seed: seed, depth: depth, yield: yield}
		e.value("", "", root)
	}
}

// jsonEditor changes a document in place, hands out what it is then, and changes
// it back. Its methods report whether more is wanted.
type jsonEditor struct {
	root  *tree
	plain []byte // unchanged
	seed  uint64
	depth int
	yield func(edit, []byte) bool
}

// put has v stand in the place of t for a moment.
func (e *jsonEditor) put(place, change string, t *tree, v tree) bool {
	old := *t
	*t = v
	b := e.root.append(make([]byte, 0, len(e.plain)+256))
	*t = old
	return bytes.Equal(b, e.plain) || e.yield(edit{place, change}, b)
}

// named is a value and what it is.
type named[T any] struct {
	what  string
	value T
}

func (e *jsonEditor) putAll(place string, t *tree, all []named[tree]) bool {
	for _, v := range all {
		if !e.put(place, v.what, t, v.value) {
			return false
		}
	}
	return true
}

// value changes t, which is called field, and what is in it.
func (e *jsonEditor) value(place, field string, t *tree) bool {
	switch t.kind {
	case '{':
		return e.object(place, t)
	case '[':
		return e.list(place, field, t)
	case '0':
		n, err := strconv.ParseInt(t.text, 10, 64)
		return err != nil || e.putAll(place, t, integers(n))
	case '"':
		return e.text(place, field, t)
	}
	return true
}

func (e *jsonEditor) object(place string, t *tree) bool {
	if !e.put(place, "unknown member", t, t.with(len(t.items), `"sigboxtest"`, &tree{kind: '"', text: `"unknown"`})) {
		return false
	}
	for i, item := range t.items {
		name := t.segment(i)
		at := place + "/" + name
		if !e.put(at, "removed", t, t.without(i)) || !e.put(at, "repeated", t, t.with(i, t.names[i], item)) ||
			!e.put(at, "repeated as null", t, t.with(i+1, t.names[i], &tree{kind: 'n', text: "null"})) ||
			!e.spellings(at, name, t, i) || !e.putAll(at, item, otherKinds(item)) || !e.value(at, name, item) {
			return false
		}
	}
	return true
}

// spellings writes a member's name otherwise.
func (e *jsonEditor) spellings(place, name string, t *tree, i int) bool {
	for _, other := range []named[string]{
		{"in snake_case", snake(name)}, {"in upper case", strings.ToUpper(name)}, {"with a capital", strings.ToUpper(name[:1]) + name[1:]},
		{"in lower case", strings.ToLower(name)}, {"with an escape", ""},
	} {
		text := quoted(other.value).text
		if other.value == "" {
			text = escape(name)
		}
		if other.value != name && !e.put(place, "name "+other.what, t, t.renamed(i, text)) {
			return false
		}
	}
	if s := snake(name); s != name {
		return e.put(place, "repeated in snake_case", t, t.with(i+1, quoted(s).text, t.items[i]))
	}
	return true
}

// snake gives a lowerCamelCase name in snake_case.
func snake(name string) string {
	var b strings.Builder
	for _, r := range name {
		if unicode.IsUpper(r) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// escape quotes s with its first character escaped, which changes nothing.
func escape(s string) string {
	if s == "" {
		return `""`
	}
	return fmt.Sprintf(`"\u%04x%s`, s[0], quoted(s[1:]).text[1:])
}

// otherKinds is a value of each kind that item is not, and null.
func otherKinds(item *tree) []named[tree] {
	all := []named[tree]{
		{"null", scalar("null")}, {"an empty object", tree{kind: '{'}}, {"an empty list", tree{kind: '['}}, {"an empty string", scalar(`""`)},
		{"the number 7", scalar("7")}, {"true", scalar("true")}, {"in a list", tree{kind: '[', items: []*tree{{item.kind, item.text, item.names, item.items}}}},
	}
	return slices.DeleteFunc(all, func(v named[tree]) bool {
		return v.value.kind == item.kind && len(v.value.items) == len(item.items) && v.value.text == item.text
	})
}

func (e *jsonEditor) list(place, field string, t *tree) bool {
	of := func(items []*tree) tree { return tree{kind: '[', items: items} }
	all := []named[tree]{{"with null", of(append(slices.Clone(t.items), &tree{kind: 'n', text: "null"}))}}
	if n := len(t.items); n > 0 {
		turned := slices.Clone(t.items)
		slices.Reverse(turned)
		all = append(all, named[tree]{"doubled", of(slices.Concat(t.items, t.items))}, named[tree]{"33 times", of(slices.Repeat(t.items[:1], 33))},
			named[tree]{"without the first", of(t.items[1:])}, named[tree]{"without the last", of(t.items[:n-1])},
			named[tree]{"with an empty object", of(append(slices.Clone(t.items), &tree{kind: '{'}))})
		if n > 1 {
			all = append(all, named[tree]{"turned around", of(turned)})
		}
	}
	if !e.putAll(place, t, all) {
		return false
	}
	for i, item := range t.items {
		if !e.value(place+"/"+t.segment(i), field, item) {
			return false
		}
	}
	return true
}

// segment is an item's part of a JSON pointer.
func (t *tree) segment(i int) string {
	if t.kind == '{' {
		return unquote(t.names[i])
	}
	return strconv.Itoa(i)
}

func (t *tree) with(i int, name string, item *tree) tree {
	return tree{kind: '{', names: slices.Insert(slices.Clone(t.names), i, name), items: slices.Insert(slices.Clone(t.items), i, item)}
}

func (t *tree) without(i int) tree {
	return tree{kind: '{', names: slices.Delete(slices.Clone(t.names), i, i+1), items: slices.Delete(slices.Clone(t.items), i, i+1)}
}

func (t *tree) renamed(i int, name string) tree {
	names := slices.Clone(t.names)
	names[i] = name
	return tree{kind: '{', names: names, items: t.items}
}

// text changes a string by what its field holds.
func (e *jsonEditor) text(place, field string, t *tree) bool {
	s := t.unquoted()
	if !e.put(place, "with an escape", t, scalar(escape(s))) {
		return false
	}
	switch field {
	case "logIndex", "integratedTime", "treeSize":
		n, err := strconv.ParseInt(s, 10, 64)
		return err != nil || e.putAll(place, t, integers(n))
	case "algorithm", "keyDetails", "mediaType", "kind", "version", "apiVersion", "payloadType", "_type", "predicateType":
		return e.putAll(place, t, texts(s, valuesOf(field)...))
	case "envelope":
		return e.putAll(place, t, texts(s)) && e.inside(place, t, noteEdits(s, e.seed), func(b []byte) tree { return quoted(string(b)) })
	case "keyId", "signedEntryTimestamp", "rootHash", "hashes", "canonicalizedBody", "rawBytes", "signedTimestamp", "digest", "signature",
		"payload", "sig", "content", "verifier", "publicKey":
		if b, err := base64.StdEncoding.DecodeString(s); err == nil && s != "" {
			return e.base64(place, field, t, b)
		}
	}
	return e.putAll(place, t, texts(s))
}

// inside puts edits of what t holds.
func (e *jsonEditor) inside(place string, t *tree, all edits, wrap func([]byte) tree) bool {
	for at, b := range all {
		if !e.put(place+at.place, at.change, t, wrap(b)) {
			return false
		}
	}
	return true
}

func (e *jsonEditor) base64(place, field string, t *tree, b []byte) bool {
	encode := func(b []byte) tree { return quoted(b64(b)) }
	if !e.putAll(place, t, spellingsOfBase64(b)) || !e.inside(place, t, byteEdits(b, randomFor(e.seed, place)), encode) {
		return false
	}
	if e.depth > 0 {
		return true
	}
	switch field {
	case "canonicalizedBody", "payload":
		return e.inside(place, t, jsonEdits(b, e.seed, e.depth+1), encode)
	case "rawBytes", "signedTimestamp":
		return e.inside(place, t, derEdits(b, e.seed), encode)
	}
	return true
}

// integers are what an integer may become: other values, and the same one written
// otherwise.
func integers(n int64) []named[tree] {
	var out []named[tree]
	for _, v := range []int64{n + 1, n - 1, -n, 0, -1, 1, 1<<31 - 1, 1 << 31, 1 << 32, 1<<53 - 1, 1 << 53, 1<<53 + 1, n + 1<<32, 1<<62 + 1, math.MaxInt64, math.MinInt64} {
		text := strconv.FormatInt(v, 10)
		if what := "made " + text; v != n && !slices.ContainsFunc(out, func(o named[tree]) bool { return o.what == what }) {
			out = append(out, named[tree]{what, quoted(text)})
		}
	}
	digits := strconv.FormatInt(n, 10)
	out = append(out, named[tree]{"made 2^63", quoted("9223372036854775808")}, named[tree]{"made 2^64 more", quoted(plus64(n))},
		named[tree]{"a number", scalar(digits)}, named[tree]{"a number with a fraction of 0", scalar(digits + ".0")}, named[tree]{"a number with a fraction", scalar(digits + ".5")},
		named[tree]{"a number with an exponent", scalar(digits + "e0")}, named[tree]{"a number, 2^53+1", scalar("9007199254740993")})
	for _, v := range []named[string]{
		{"with a plus", "+" + digits}, {"with a zero before", "0" + digits}, {"with a space before", " " + digits}, {"with a space behind", digits + " "},
		{"with a fraction of 0", digits + ".0"}, {"with an exponent", digits + "e0"}, {"in hexadecimal", "0x" + strconv.FormatInt(n, 16)},
		{"with an underscore", digits[:1] + "_" + digits[1:]}, {"no number", "x"},
	} {
		out = append(out, named[tree]{v.what, quoted(v.value)})
	}
	return out
}

// plus64 is n + 2⁶⁴: the same number to whoever cuts it to 64 bits.
func plus64(n int64) string {
	const high, low = 1844674407, 3709551616 // 2⁶⁴ = high·10¹⁰ + low
	sum := uint64(low) + uint64(max(n, 0))
	return fmt.Sprintf("%d%010d", high+sum/1e10, sum%1e10)
}

// valuesOf are values that a reader may know for a field.
func valuesOf(field string) []string {
	switch field {
	case "algorithm":
		return []string{"SHA2_256", "SHA2_384", "SHA2_512", "SHA3_256", "SHA3_384", "HASH_ALGORITHM_UNSPECIFIED", "sha256", "sha512", "SHA256", "1"}
	case "keyDetails":
		return []string{"PKIX_ECDSA_P256_SHA_256", "PKIX_ECDSA_P384_SHA_384", "PKIX_ECDSA_P384_SHA_256", "PKIX_ED25519", "PKIX_ED25519_PH",
			"PKIX_RSA_PKCS1V15_2048_SHA256", "PKIX_RSA_PSS_2048_SHA256", "PUBLIC_KEY_DETAILS_UNSPECIFIED", "5"}
	case "mediaType":
		var out []string
		for _, v := range []string{"0.0", "0.1", "0.2", "0.3", "0.4", "0.10", "1.0", "0.3.0", "00.3"} {
			out = append(out, "application/vnd.dev.sigstore.bundle+json;version="+v, "application/vnd.dev.sigstore.bundle.v"+v+"+json")
		}
		return append(out, "application/json", "application/vnd.dev.sigstore.bundle+json", "application/vnd.dev.sigstore.bundle.v0.3",
			"application/vnd.dev.sigstore.bundle.v0.3+json;version=0.2", "application/vnd.dev.sigstore.bundle+json; version=0.3")
	case "kind":
		return []string{"hashedrekord", "dsse", "intoto", "rekord", "helm"}
	case "version", "apiVersion":
		return []string{"0.0.1", "0.0.2", "0.0.3", "0.0", "v0.0.1", "1.0.0"}
	case "payloadType":
		return []string{"application/vnd.in-toto+json", "application/vnd.in-toto.provenance+json", "application/json", "text/plain"}
	case "_type":
		return []string{"https://in-toto.io/Statement/v0.1", "https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v2"}
	}
	return nil
}

// texts are what a text may become.
func texts(s string, others ...string) []named[tree] {
	var out []named[tree]
	add := func(what, v string) {
		if v != s {
			out = append(out, named[tree]{what, quoted(v)})
		}
	}
	for _, o := range others {
		add("made "+o, o)
	}
	add("in upper case", strings.ToUpper(s))
	add("in lower case", strings.ToLower(s))
	add("with a space before", " "+s)
	add("with a space behind", s+" ")
	add("with a line end behind", s+"\n")
	add("with a NUL behind", s+"\x00")
	add("doubled", s+s)
	add("made 64 KiB", strings.Repeat("x", 64<<10))
	if s != "" {
		add("cut by 1", s[:len(s)-1])
	}
	if len(others) > 0 {
		out = append(out, named[tree]{"made the number 0", scalar("0")}, named[tree]{"made the number 1", scalar("1")},
			named[tree]{"made the number 2", scalar("2")}, named[tree]{"made the number 99", scalar("99")}, named[tree]{"made the number -1", scalar("-1")})
	}
	return append(out, named[tree]{"not UTF-8", tree{kind: jsontext.Kind('"'), text: strings.TrimSuffix(quoted(s).text, `"`) + "\xff\""}},
		named[tree]{"with half a surrogate", tree{kind: jsontext.Kind('"'), text: strings.TrimSuffix(quoted(s).text, `"`) + `\ud800"`}})
}

// spellingsOfBase64 are other ways to write b, right or wrong.
func spellingsOfBase64(b []byte) []named[tree] {
	s := b64(b)
	unpadded := strings.TrimRight(s, "=")
	half := len(s) / 2
	out := []named[tree]{
		{"base64 with a space", quoted(s[:half] + " " + s[half:])}, {"base64 with a line end", quoted(s[:half] + "\n" + s[half:])},
		{"base64 with CRLF", quoted(s[:half] + "\r\n" + s[half:])}, {"base64 with a carriage return", quoted(s[:half] + "\r" + s[half:])},
		{"base64 with a tab", quoted(s[:half] + "\t" + s[half:])}, {"base64 with a line end behind", quoted(s + "\n")},
		{"base64 with a space before", quoted(" " + s)}, {"base64 with more padding", quoted(s + "=")}, {"base64 with padding and more", quoted(unpadded + "====")},
		{"base64 with a wrong character", quoted(s[:half] + "!" + s[half+1:])}, {"base64 with a wrong character more", quoted(s[:half] + "*" + s[half:])},
		{"base64 cut by 1 character", quoted(s[:len(s)-1])}, {"base64 twice", quoted(s + s)}, {"base64 with a NUL behind", quoted(s + "\x00")}, {"in hexadecimal", quoted(fmt.Sprintf("%x", b))},
	}
	if unpadded != s {
		out = append(out, named[tree]{"base64 unpadded", quoted(unpadded)}, named[tree]{"base64 with bits left over", quoted(leftOver(s, unpadded))})
	}
	if url := strings.NewReplacer("+", "-", "/", "_").Replace(s); url != s {
		out = append(out, named[tree]{"base64 in the URL alphabet", quoted(url)}, named[tree]{"base64 in the URL alphabet, unpadded", quoted(strings.TrimRight(url, "="))},
			named[tree]{"base64 in both alphabets", quoted(bothAlphabets(s))})
	}
	return out
}

// leftOver sets the lowest of the bits that padded base64 does not use.
func leftOver(s, unpadded string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	last := len(unpadded) - 1
	at := strings.IndexByte(alphabet, unpadded[last])
	return unpadded[:last] + string(alphabet[at|1]) + s[len(unpadded):]
}

// bothAlphabets writes one character in the URL alphabet and leaves the others.
func bothAlphabets(s string) string {
	i := strings.IndexAny(s, "+/")
	url := "-"
	if s[i] == '/' {
		url = "_"
	}
	out := s[:i] + url + s[i+1:]
	if strings.ContainsAny(out, "+/") {
		return out
	}
	return strings.Replace(s, s[i:i+1], url, 1)
}

// byteEdits changes bytes: bits at both ends and at random, and the length.
func byteEdits(b []byte, random interface{ IntN(int) int }) edits {
	return func(yield func(edit, []byte) bool) {
		bits := []int{0, len(b)*8 - 1}
		for range 6 {
			bits = append(bits, random.IntN(len(b)*8))
		}
		slices.Sort(bits)
		for _, bit := range slices.Compact(bits) {
			changed := bytes.Clone(b)
			changed[bit/8] ^= 0x80 >> (bit % 8)
			if !yield(edit{"", fmt.Sprintf("bit %d of byte %d flipped", bit%8, bit/8)}, changed) {
				return
			}
		}
		for _, v := range []named[[]byte]{
			{"cut by 1 byte", b[:len(b)-1]}, {"without the first byte", b[1:]}, {"extended by a zero byte", append(bytes.Clone(b), 0)},
			{"with a zero byte before", append([]byte{0}, b...)}, {"all zero", make([]byte, len(b))}, {"cut to 1 byte", b[:1]}, {"cut to half", b[:(len(b)+1)/2]},
			{"with a line end behind", append(bytes.Clone(b), '\n')},
		} {
			if !yield(edit{"", v.what}, v.value) {
				return
			}
		}
	}
}
