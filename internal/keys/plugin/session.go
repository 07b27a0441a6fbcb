package plugin

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"sync"

	"github.com/go-json-experiment/json"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/jsonerr"
	"github.com/sigbox/sigbox/internal/keys"
)

// ServeWord is the argument by which sigstore-kms-pkcs11 answers many calls: lines of
// JSON on its standard input, [Line] each, and as many on its output, in any order.
const ServeWord = "serve"

// Line is a call of a run that answers many.
type Line struct {
	ID      uint64 `json:"id"`
	Call    Call   `json:"call"`
	Message []byte `json:"message,omitempty"`
}

// LineAnswer is the answer to the Line with its ID.
type LineAnswer struct {
	ID     uint64 `json:"id"`
	Answer Answer `json:"answer"`
}

// maxLine bounds a line, in bytes.
const maxLine = 2 * maxAnswer

// ParseLineAnswer reads a line of the program's.
func ParseLineAnswer(b []byte) (LineAnswer, error) {
	var a LineAnswer
	if err := json.Unmarshal(b, &a, json.RejectUnknownMembers(true)); err != nil {
		return LineAnswer{}, jsonerr.Of("the plugin's line", err)
	}
	return a, nil
}

// Token gives the key of a PKCS #11 URI, by sigstore-kms-pkcs11. Keys of one token are
// asked of one program, which is started when it is first needed, and again when it has
// ended.
func (p *Programs) Token(uri string) (keys.Source, error) {
	t, err := keys.ParseToken(uri)
	if err != nil {
		return nil, err
	}
	program, err := p.find(prefix + keys.SchemePKCS11)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.tokens[t.Same()]
	if s == nil {
		s = &session{programs: p, program: program}
		p.tokens[t.Same()] = s
	}
	k := &key{programs: p, program: program, name: uri}
	k.call = func(ctx context.Context, c Call, message []byte) (Answer, error) { return s.ask(ctx, k, c, message) }
	return k, nil
}

// session is a program that answers many calls.
type session struct {
	programs *Programs
	program  string

	mu  sync.Mutex
	run *run // nil while no program runs
}

// run is one run of a program.
type run struct {
	stdin  io.Writer
	cancel context.CancelFunc
	gone   chan struct{} // closed when it has ended
	stderr *kept         // read when it has ended

	writing sync.Mutex // held while a line is written

	mu      sync.Mutex
	next    uint64
	waiting map[uint64]chan Answer
	broken  error // why it has ended or is about to
}

// ask has the program answer a call. One that does not answer in time, or not as
// expected, is ended, so that the next call has a new one.
func (s *session) ask(ctx context.Context, k *key, c Call, message []byte) (Answer, error) {
	select {
	case s.programs.slots <- struct{}{}:
		defer func() { <-s.programs.slots }()
	case <-ctx.Done():
		return Answer{}, k.failed(ctx.Err(), "", "is busy")
	}
	r, err := s.running()
	if err != nil {
		return Answer{}, k.failed(err, "", "does not start")
	}
	defer context.AfterFunc(ctx, func() { r.end(ctx.Err()) })()
	answer, err := r.send(c, message)
	if err != nil {
		return Answer{}, err
	}
	select {
	case a := <-answer:
		if a.Error != "" {
			return Answer{}, k.refused(a)
		}
		return a, nil
	case <-r.gone:
		return Answer{}, k.failed(r.why(), r.stderr.String(), "has ended")
	case <-ctx.Done():
		return Answer{}, k.failed(ctx.Err(), "", "does not answer")
	}
}

// running gives the program that runs, or starts one.
func (s *session) running() (*run, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run != nil && s.run.why() == nil {
		return s.run, nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &run{cancel: cancel, gone: make(chan struct{}), stderr: &kept{limit: keptErrors}, waiting: map[uint64]chan Answer{}}
	cmd := s.programs.command(ctx, s.program, ServeWord)
	cmd.Stderr = r.stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		cancel()
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		cancel()
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, err
	}
	r.stdin = stdin
	go func() {
		r.read(stdout)
		cancel() // a program that says no more is of no use
		r.end(cmd.Wait())
		endGroup(cmd)
		close(r.gone)
	}()
	s.run = r
	return r, nil
}

// close ends the program.
func (s *session) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run != nil {
		s.run.cancel()
		<-s.run.gone
	}
}

// send writes a call and gives where its answer will be.
func (r *run) send(c Call, message []byte) (<-chan Answer, error) {
	answer := make(chan Answer, 1)
	r.mu.Lock()
	r.next++
	id := r.next
	r.waiting[id] = answer
	r.mu.Unlock()
	line, err := json.Marshal(Line{id, c, message})
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Internal, "%w", err)
	}
	r.writing.Lock()
	defer r.writing.Unlock()
	if _, err := r.stdin.Write(append(line, '\n')); err != nil {
		r.end(err) // its end is what the caller is told
	}
	return answer, nil
}

// read takes answers until there are no more, or one that makes no sense.
func (r *run) read(stdout io.Reader) {
	lines := bufio.NewScanner(stdout)
	lines.Buffer(make([]byte, 0, 4<<10), maxLine)
	for lines.Scan() {
		a, err := ParseLineAnswer(bytes.TrimSpace(lines.Bytes()))
		if err != nil {
			r.end(err)
			return
		}
		r.mu.Lock()
		to := r.waiting[a.ID]
		delete(r.waiting, a.ID)
		r.mu.Unlock()
		if to == nil {
			r.end(sigbox.Errorf(sigbox.Invalid, "the plugin answers what was not asked"))
			return
		}
		to <- a.Answer
	}
	if err := lines.Err(); err != nil {
		r.end(err)
	}
}

// end ends the program, and remembers the first reason; nil is that it has ended by
// itself, and well.
func (r *run) end(why error) {
	if why == nil {
		why = errors.New("it said no more")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.broken == nil {
		r.broken = why
	}
	r.cancel()
}

// why says why the program has ended or is about to, nil if it is not.
func (r *run) why() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.broken
}
