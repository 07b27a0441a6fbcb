// Package statement reads in-toto statements: what an attestation is about, and
// what it says. It verifies nothing; who signed a statement is for package verify.
//
// Source: https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
package statement

import (
	"bytes"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/jsonerr"
	"github.com/sigbox/sigbox/wire/internal/strictjson"
)

// The types of statements that are read.
const (
	TypeV1  = "https://in-toto.io/Statement/v1"
	TypeV01 = "https://in-toto.io/Statement/v0.1"
)

// Bounds on a statement.
const (
	MaxSubjects = 1024
	MaxDigests  = 32 // of one subject
	// maxNames is how many names of members may be open at a time: they are
	// remembered, so that none stands twice.
	maxNames = 1 << 16
	// maxName bounds a name, in bytes.
	maxName = 4096
	// maxNamesSize bounds the names that are open at a time, in bytes, where it is to be
	// said what is wrong with a statement.
	maxNamesSize = 4 << 20
	// smallPayload has no room for names that matter, in bytes.
	smallPayload = 1 << 19
)

// Statement is an in-toto statement.
type Statement struct {
	Type          string `json:"_type"`
	PredicateType string `json:"predicateType"`
	// Subjects are what the predicate is about.
	Subjects []Subject `json:"subject"`
	// Predicate is JSON, as signed. It shares memory with what was parsed.
	Predicate jsontext.Value `json:"predicate,omitempty"`
}

// Subject is one artifact that a statement is about. Digests are by name, mostly in
// lower-case hex; the names may be of algorithms that sigbox does not know.
type Subject struct {
	Name    string            `json:"name,omitempty"`
	Digests map[string]string `json:"digest"`
	// Annotations are what else is said of it: JSON, as signed, of any kind.
	Annotations jsontext.Value `json:"annotations,omitempty"`
}

// Parse reads a statement of version 1 or 0.1. JSON is read strictly: names are
// case-sensitive and none stands twice, in the predicate neither. Members that are
// not known are passed over, as in-toto's parsing rules demand. Errors are of kind
// Invalid or TooLarge.
func Parse(payload []byte) (*Statement, error) {
	s, ok := read(payload)
	if !ok {
		var err error
		if s, err = judge(payload); err != nil {
			return nil, err
		}
	}
	return s, s.check()
}

// read reads a statement in which nothing is wrong.
func read(payload []byte) (s *Statement, ok bool) {
	s = new(Statement)
	var err error
	ok = strictjson.Object(payload, strictjson.Bounds{Name: maxName, Names: maxNames}, func(name, value []byte) {
		switch {
		case err != nil:
		case string(name) == "_type":
			err = json.Unmarshal(value, &s.Type)
		case string(name) == "predicateType":
			err = json.Unmarshal(value, &s.PredicateType)
		case string(name) == "subject":
			// None of its names stands twice: value would not have been told of.
			err = json.Unmarshal(value, &s.Subjects, withinBounds(), jsontext.AllowDuplicateNames(true))
		case string(name) == "predicate":
			s.Predicate = value
		}
	})
	return s, ok && err == nil
}

// judge reads any payload, and says what is wrong with it. It takes its time.
func judge(payload []byte) (*Statement, error) {
	var in struct {
		Statement
		Predicate span `json:"predicate"` // in place of the statement's, so that it is not copied
	}
	if len(payload) > smallPayload {
		if err := boundNames(payload); err != nil {
			return nil, err
		}
	}
	if err := json.Unmarshal(payload, &in, withinBounds()); err != nil {
		return nil, jsonerr.Of("the payload is not an in-toto statement", err)
	}
	s := &in.Statement
	if p := in.Predicate; p.end > 0 {
		s.Predicate = payload[p.start:p.end:p.end]
	}
	return s, nil
}

func (s *Statement) check() error {
	switch {
	case s.Type != TypeV1 && s.Type != TypeV01:
		return sigbox.Errorf(sigbox.Invalid, "_type is %.100q, expected %s or v0.1", s.Type, TypeV1)
	case s.PredicateType == "":
		return sigbox.Errorf(sigbox.Invalid, "the statement has no predicate type")
	case len(s.Subjects) == 0:
		return sigbox.Errorf(sigbox.Invalid, "the statement has no subject")
	}
	for i, one := range s.Subjects {
		if len(one.Digests) == 0 {
			return sigbox.Errorf(sigbox.Invalid, "subject %d has no digest", i+1)
		}
	}
	return nil
}

// span is where a value stands in what is read.
type span struct{ start, end int64 }

func (s *span) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	v, err := dec.ReadValue()
	s.end = dec.InputOffset()
	s.start = s.end - int64(len(v))
	return err
}

// boundNames refuses JSON that would fill the memory with names: to look for those
// that stand twice takes many times the memory of the names.
func boundNames(payload []byte) error {
	dec := jsontext.NewDecoder(bytes.NewBuffer(payload), jsontext.AllowDuplicateNames(true))
	var total struct{ names, size int } // of the open objects and lists
	above := make([]struct{ names, size int }, 0, 16)
	for {
		kind, n := dec.StackIndex(dec.StackDepth())
		next := dec.PeekKind()
		if next == '"' && kind == '{' && n%2 == 0 {
			name, err := dec.ReadValue()
			total.names++
			total.size += len(name)
			switch {
			case err != nil:
				return nil //nolint:nilerr // what is wrong with it is told by who reads it
			case len(name) > maxName:
				return sigbox.Errorf(sigbox.TooLarge, "the payload has a name of %d bytes: at most %d are read", len(name), maxName)
			case total.names > maxNames:
				return sigbox.Errorf(sigbox.TooLarge, "the payload has an object of more than %d members", maxNames)
			case total.size > maxNamesSize:
				return sigbox.Errorf(sigbox.TooLarge, "the payload is not an in-toto statement; its names of more than %d bytes are too large to say why", maxNamesSize)
			}
			continue
		}
		if _, err := dec.ReadToken(); err != nil {
			return nil //nolint:nilerr // the same
		}
		switch next {
		case '{', '[':
			above = append(above, total)
		case '}', ']':
			total = above[len(above)-1]
			above = above[:len(above)-1]
		}
	}
}

// withinBounds reads lists and objects so that a small element repeated without end
// cannot fill the memory.
func withinBounds() json.Options {
	return json.WithUnmarshalers(json.JoinUnmarshalers(json.UnmarshalFromFunc(readSubjects), json.UnmarshalFromFunc(readDigests)))
}

// readSubjects reads a list of at most MaxSubjects.
func readSubjects(dec *jsontext.Decoder, subjects *[]Subject) error {
	if k := dec.PeekKind(); k != '[' && k != 0 {
		return sigbox.Errorf(sigbox.Invalid, "expected a list, found %s", jsonerr.Kind(k))
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() != ']' {
		if len(*subjects) == MaxSubjects {
			return sigbox.Errorf(sigbox.TooLarge, "more than %d subjects", MaxSubjects)
		}
		var one Subject
		if err := json.UnmarshalDecode(dec, &one); err != nil {
			return err
		}
		*subjects = append(*subjects, one)
	}
	_, err := dec.ReadToken()
	return err
}

// readDigests reads an object of at most MaxDigests strings.
func readDigests(dec *jsontext.Decoder, digests *map[string]string) error {
	if k := dec.PeekKind(); k != '{' && k != 0 {
		return sigbox.Errorf(sigbox.Invalid, "expected an object, found %s", jsonerr.Kind(k))
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	*digests = make(map[string]string)
	for dec.PeekKind() != '}' {
		if len(*digests) == MaxDigests {
			return sigbox.Errorf(sigbox.TooLarge, "more than %d digests of a subject", MaxDigests)
		}
		var name, value string
		if err := json.UnmarshalDecode(dec, &name); err != nil {
			return err
		}
		if err := json.UnmarshalDecode(dec, &value); err != nil {
			return err
		}
		(*digests)[name] = value
	}
	_, err := dec.ReadToken()
	return err
}
