package verify

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sigbox/sigbox"
)

// Bounds on a statement.
const (
	maxSubjects = 1024
	maxDigests  = 32 // of one subject
)

// Statement is an in-toto statement whose signature was verified.
//
// Source: https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
type Statement struct {
	Type          string `json:"_type"`
	PredicateType string `json:"predicateType"`
	// Subjects are what the predicate is about.
	Subjects []Subject `json:"subject"`
	// Predicate is JSON, as signed. It is a part of the bundle's payload.
	Predicate jsontext.Value `json:"predicate,omitempty"`
}

// Subject is one artifact that a statement is about. Digests are by name, in
// lower-case hex; the names may be of algorithms that sigbox does not know.
type Subject struct {
	Name    string            `json:"name,omitempty"`
	Digests map[string]string `json:"digest"`
}

// withinBounds reads lists and objects so that a small element repeated without end
// cannot fill the memory. It is never changed.
var withinBounds = json.WithUnmarshalers(json.JoinUnmarshalers(json.UnmarshalFromFunc(readSubjects), json.UnmarshalFromFunc(readDigests)))

// readSubjects reads a list of at most maxSubjects.
func readSubjects(dec *jsontext.Decoder, subjects *[]Subject) error {
	if k := dec.PeekKind(); k != '[' {
		return errors.New("subject: expected a list")
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() != ']' {
		if len(*subjects) == maxSubjects {
			return fmt.Errorf("more than %d subjects", maxSubjects)
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

// readDigests reads an object of at most maxDigests strings.
func readDigests(dec *jsontext.Decoder, digests *map[string]string) error {
	if k := dec.PeekKind(); k != '{' {
		return errors.New("digest: expected an object")
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	*digests = make(map[string]string)
	for dec.PeekKind() != '}' {
		if len(*digests) == maxDigests {
			return fmt.Errorf("more than %d digests of a subject", maxDigests)
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

// span is where a value stands in what is read.
type span struct{ start, end int64 }

func (s *span) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	v, err := dec.ReadValue()
	s.end = dec.InputOffset()
	s.start = s.end - int64(len(v))
	return err
}

// parseStatement reads a payload. JSON is read strictly, names are
// case-sensitive; members that are not known are passed over, as in-toto's
// parsing rules demand.
func parseStatement(payload []byte) (*Statement, error) {
	var in struct {
		Statement
		Predicate span `json:"predicate"` // in place of the statement's, so that it is not copied
	}
	if err := json.Unmarshal(payload, &in, withinBounds); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, refuse(StepStatement, "the payload is not JSON: it ends early")
		}
		return nil, refuse(StepStatement, "the payload is not an in-toto statement: %.200s", err.Error())
	}
	s := &in.Statement
	if p := in.Predicate; p.end > 0 {
		s.Predicate = payload[p.start:p.end:p.end]
	}
	switch {
	case s.Type != "https://in-toto.io/Statement/v1" && s.Type != "https://in-toto.io/Statement/v0.1":
		return nil, refuseFor(StepStatement, sigbox.Errorf(sigbox.NotVerified, "_type is %.100q, expected https://in-toto.io/Statement/v1 or v0.1", s.Type))
	case s.PredicateType == "":
		return nil, refuse(StepStatement, "the statement has no predicate type")
	case len(s.Subjects) == 0:
		return nil, refuse(StepStatement, "the statement has no subject")
	}
	for i, one := range s.Subjects {
		if len(one.Digests) == 0 {
			return nil, refuse(StepStatement, "subject %d has no digest", i+1)
		}
	}
	return s, nil
}

// hashes gives the hashes by which the statement names its subjects.
func (s *Statement) hashes() (set hashSet) {
	for _, one := range s.Subjects {
		for name := range one.Digests {
			set.add(hashNamed(name))
		}
	}
	return set
}

// find gives the subject that carries one of the artifact's digests, or -1.
func (s *Statement) find(c *content) int {
	return slices.IndexFunc(s.Subjects, func(one Subject) bool {
		for name, value := range one.Digests {
			if c.is(sigbox.NamedDigest{Algorithm: name, Value: value}) {
				return true
			}
		}
		return false
	})
}
