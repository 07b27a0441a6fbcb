package sigboxtest

import (
	"hash/fnv"
	"iter"
	"math/rand/v2"
	"slices"
)

// Mutation is a bundle file with one thing changed in it. Whoever changed it has no
// keys: nothing is signed again. For bundles whose forger does have a key, see
// [Faults].
type Mutation struct {
	// Place is where, as a JSON pointer. It goes on into JSON that is held in
	// base64, as in /verificationMaterial/tlogEntries/0/canonicalizedBody/spec.
	Place string
	// Change is what was done there: "removed", "bit 3 of byte 17 flipped".
	Change string
	// Bundle is the file.
	Bundle []byte
}

// Name is the place and the change. In the mutations of one file it is unique.
func (m Mutation) Name() string { return m.Place + ": " + m.Change }

// Mutations changes a bundle file, or other JSON, in one place after the other:
//
//   - members: removed, repeated, null, empty, of another type, in another case, in
//     snake_case, with an unknown one beside them;
//   - lists: emptied, doubled, turned around, with 33 elements;
//   - integers: one more, one less, zero, negative, around 2³¹, 2⁵³ and 2⁶³, and
//     written otherwise;
//   - bytes: bits flipped, cut, extended; their base64 in the other alphabet,
//     unpadded, with white space, with bits left over;
//   - enums and texts: each other value that a reader may know, other case, spaces;
//   - what bytes and texts hold: the entry's body and the statement as JSON again,
//     certificates and timestamps by each DER element, checkpoints by each line.
//
// The same file and seed give the same mutations in the same order. There are some
// thousands; [Sample] takes some of them. A file that is no JSON has none.
func Mutations(file []byte, seed uint64) iter.Seq[Mutation] {
	return func(yield func(Mutation) bool) {
		for at, b := range jsonEdits(file, seed, 0) {
			if !yield(Mutation{at.place, at.change, b}) {
				return
			}
		}
	}
}

// Swaps puts each value of another bundle file into this one, in the place that it
// has there: with both files good, and signed by the same signer or by another,
// these are bundles put together from evidence that is sound.
func Swaps(file, other []byte) iter.Seq[Mutation] {
	return func(yield func(Mutation) bool) {
		root, err := parseTree(file)
		from, otherErr := parseTree(other)
		if err != nil || otherErr != nil {
			return
		}
		var walk func(place string, t, o *tree) bool
		walk = func(place string, t, o *tree) bool {
			if string(t.append(nil)) == string(o.append(nil)) {
				return true
			}
			old := *t
			*t = *o
			b := root.append(nil)
			*t = old
			if place != "" && !yield(Mutation{place, "of the other bundle", b}) {
				return false
			}
			for i, item := range t.items {
				if j := o.index(t, i); j >= 0 && !walk(place+"/"+t.segment(i), item, o.items[j]) {
					return false
				}
			}
			return true
		}
		walk("", root, from)
	}
}

// index finds where t has what of has at i, or -1.
func (t *tree) index(of *tree, i int) int {
	switch {
	case t.kind != of.kind:
		return -1
	case t.kind == '{':
		return slices.Index(t.names, of.names[i])
	case i < len(t.items):
		return i
	}
	return -1
}

// Sample takes about n mutations, as many of each place as the places have: the
// many bytes of a certificate do not crowd out a field of one number. The same
// seed takes the same ones. It goes through the mutations twice.
func Sample(all iter.Seq[Mutation], n int, seed uint64) iter.Seq[Mutation] {
	return func(yield func(Mutation) bool) {
		left := map[string]int{}
		for m := range all {
			left[m.Place]++
		}
		wanted := share(left, n)
		random := rand.New(rand.NewPCG(seed, 1))
		for m := range all {
			// Each of those left has the same chance (Knuth, algorithm S).
			take := random.IntN(left[m.Place]) < wanted[m.Place]
			left[m.Place]--
			if !take {
				continue
			}
			wanted[m.Place]--
			if !yield(m) {
				return
			}
		}
	}
}

// share divides n among places, to each the same or all that it has.
func share(have map[string]int, n int) map[string]int {
	sizes := make([]int, 0, len(have))
	for _, size := range have {
		sizes = append(sizes, size)
	}
	slices.Sort(sizes)
	each := 0
	for i, size := range sizes {
		rest := len(sizes) - i
		each = (n + rest - 1) / rest
		if each <= size {
			break
		}
		n -= size
	}
	out := make(map[string]int, len(have))
	for place, size := range have {
		out[place] = min(each, size)
	}
	return out
}

// randomFor gives the same numbers for the same place each time.
func randomFor(seed uint64, place string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(place))
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}
