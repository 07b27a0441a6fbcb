// Package differential has sigbox and other implementations of Sigstore judge the
// same bundles: good ones, such with a fault, and such that were changed somewhere.
// Where they differ, a class says why; see docs/divergences.md, "Verifying".
//
//	go test ./differential                  a sample, in a few minutes
//	go test ./differential -mutations 0     everything
//	go test ./differential -run Worlds -v -only 'v2 mutation /tlogEntries/0/logIndex: made 0'
package differential

import (
	"encoding/json"
	"flag"
	"iter"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"

	"github.com/sigbox/sigbox/verify"
)

var (
	mutations = flag.Int("mutations", 100, "how many mutations of each good bundle are judged; 0 is all of them")
	seed      = flag.Uint64("seed", 1, "of keys and mutations: what is judged hangs on it alone")
	only      = flag.String("only", "", "judge the bundles alone whose name this regular expression matches, and tell what was said")
	record    = flag.String("record", "", "write every difference to this file, as JSON lines")
)

// bench is where the judges sit, ours first.
type bench []judge

func newBench(t *testing.T) bench {
	quiet(t)
	return bench{sigboxJudge{map[string]*verify.Verifier{}}, goJudge{map[string]*root.TrustedRoot{}}, sigstoreJS(t), sigstorePython(t)}
}

// quiet has sigstore-go say to nobody which of its verifiers it tries next.
func quiet(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	stderr := os.Stderr
	os.Stderr = null
	t.Cleanup(func() {
		os.Stderr = stderr
		null.Close()
	})
}

// verdict is what a judge said, if it was asked.
type verdict struct {
	asked bool
	err   error
}

func (v verdict) String() string {
	switch {
	case !v.asked:
		return "was not asked"
	case v.err == nil:
		return "accepts"
	}
	return "refuses: " + strings.ReplaceAll(v.err.Error(), "\n", " ")
}

// session is a run, with what was found so far.
type session struct {
	*testing.T
	bench    bench
	classes  []class
	patterns map[string]*regexp.Regexp
	only     *regexp.Regexp
	judged   []int           // by judge
	spent    []time.Duration // by judge
	found    map[string]int  // differences by class
	records  *json.Encoder
}

func newSession(t *testing.T, b bench) *session {
	s := &session{
		T: t, bench: b, classes: classes(), patterns: map[string]*regexp.Regexp{}, only: regexp.MustCompile(*only),
		judged: make([]int, len(b)), spent: make([]time.Duration, len(b)), found: map[string]int{},
	}
	if *record != "" {
		f, err := os.Create(*record)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		s.records = json.NewEncoder(f)
	}
	return s
}

// good asks about a good bundle and gives who accepts it: a judge that does not
// has no say in what becomes of it.
func (s *session) good(q question) []bool {
	everybody := make([]bool, len(s.bench))
	for i := range everybody {
		everybody[i] = true
	}
	said := s.ask([]question{q}, everybody)[0]
	s.compare(&q, said)
	for i, v := range said {
		everybody[i] = v.asked && v.err == nil
	}
	return everybody
}

// judge has those who have a say judge.
func (s *session) judge(questions []question, has []bool) {
	if *only != "" {
		var some []question
		for _, q := range questions {
			if s.only.MatchString(q.name) {
				some = append(some, q)
			}
		}
		questions = some
	}
	for i, said := range s.ask(questions, has) {
		s.compare(&questions[i], said)
	}
}

// judgeAll is judge for many questions.
func (s *session) judgeAll(questions iter.Seq[question], has []bool) {
	const atOnce = 512
	some := make([]question, 0, atOnce)
	for q := range questions {
		if some = append(some, q); len(some) == atOnce {
			s.judge(some, has)
			some = some[:0]
		}
	}
	s.judge(some, has)
}

// ask puts questions to the judges, who work at the same time.
func (s *session) ask(questions []question, has []bool) [][]verdict {
	out := make([][]verdict, len(questions))
	for i := range out {
		out[i] = make([]verdict, len(s.bench))
	}
	var wg sync.WaitGroup
	for j, judge := range s.bench {
		if !has[j] {
			continue
		}
		wg.Go(func() {
			start := time.Now()
			for i := range questions {
				if judge.knows(&questions[i]) {
					out[i][j] = verdict{true, judge.judge(&questions[i])}
					s.judged[j]++
				}
			}
			s.spent[j] += time.Since(start)
		})
	}
	wg.Wait()
	return out
}

// compare looks for a difference, and for the class that explains it.
func (s *session) compare(q *question, said []verdict) {
	s.Helper()
	if *only != "" && s.only.MatchString(q.name) {
		s.Logf("%s\n%s", q.name, s.told(said))
	}
	differ := false
	for i, v := range said {
		if _, crashed := v.err.(crash); crashed {
			s.Errorf("%s: %s did not answer: %v", q.name, s.bench[i].name(), v.err)
		}
		differ = differ || v.asked && said[0].asked && (v.err == nil) != (said[0].err == nil)
	}
	if !differ {
		return
	}
	class := s.explained(q, said)
	if s.found[class]++; class == "" {
		s.Errorf("%s: a difference of no class:\n%s\tgo test ./differential -run '^%s$' -v -mutations 0 -seed %d -only '^%s$'",
			q.name, s.told(said), s.Name(), *seed, regexp.QuoteMeta(q.name))
	}
	if s.records != nil {
		line := map[string]string{"name": q.name, "class": class, "bundle": string(q.bundle)}
		for i, v := range said {
			line[s.bench[i].name()] = v.String()
		}
		if err := s.records.Encode(line); err != nil {
			s.Fatal(err)
		}
	}
}

// told is what each judge said, a line each.
func (s *session) told(said []verdict) string {
	var b strings.Builder
	for i, v := range said {
		b.WriteString("\t" + s.bench[i].name() + " " + v.String() + "\n")
	}
	return b.String()
}

// end tells how much was judged and how often each class was seen.
func (s *session) end() {
	for i, j := range s.bench {
		s.Logf("%s judged %d bundles in %v", j.name(), s.judged[i], s.spent[i].Round(time.Millisecond))
	}
	for _, c := range s.classes {
		s.Logf("%5d %s", s.found[c.name], c.name)
	}
}
