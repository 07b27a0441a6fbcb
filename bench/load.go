package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// request is what one measurement posts. Bodies are made before the clock runs.
type request struct {
	path   string
	accept func(status int, body []byte) error
	// body makes the i-th body; bodies are unique.
	body func(i int) []byte
	// rate is more than any server answers in a second: how many bodies to make.
	rate int
}

// result is one measurement.
type result struct {
	done, failed  int
	shed          int // refused with Retry-After: they are not among those done
	elapsed       time.Duration
	p50, p99, max time.Duration
	cpu           time.Duration // the server's, a request
	peak          int64         // the server's resident memory, bytes
	failure       error         // the first one
}

// rate is answers a second; 0 for a server that was not measured.
func (r result) rate() float64 {
	if r.elapsed == 0 {
		return 0
	}
	return float64(r.done-r.failed) / r.elapsed.Seconds()
}

// load posts bodies from clients at once for span, or until they run out. Each
// client has a connection of its own and sends one request before the clock runs.
func load(ctx context.Context, s *server, req request, clients int, span time.Duration) (result, error) {
	return loadBodies(ctx, s, req, makeBodies(req, 0, int(float64(req.rate)*span.Seconds())+clients), clients, span)
}

// loadBodies is load with bodies that are there.
func loadBodies(ctx context.Context, s *server, req request, bodies [][]byte, clients int, span time.Duration) (result, error) {
	l := &loader{host: strings.TrimPrefix(s.url, "http://"), path: req.path, accept: req.accept, bodies: bodies}
	connections := make([]*connection, clients)
	for i := range connections {
		connections[i] = &connection{loader: l}
		defer connections[i].close()
	}
	each(clients, func(i int) { connections[i].post(ctx, bodies[i]) })
	if l.failed.Load() > 0 {
		return result{}, fmt.Errorf("%s refused a request before the measurement: %w", s.name, l.failure)
	}
	l.next.Store(int64(clients))
	l.shed.Store(0)
	before, err := s.used()
	if err != nil {
		return result{}, err
	}
	times := make([][]time.Duration, clients)
	start := time.Now()
	each(clients, func(i int) { times[i] = connections[i].work(ctx, start.Add(span)) })
	elapsed := time.Since(start)
	after, err := s.used()
	if err != nil {
		return result{}, err
	}
	if err := ctx.Err(); err != nil {
		return result{}, err
	}
	return l.result(s, slices.Concat(times...), elapsed, after.cpu-before.cpu)
}

// each runs f for 0 to n-1 at once.
func each(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

// makeBodies makes n bodies, from one on, on all processors.
func makeBodies(req request, from, n int) [][]byte {
	const makers = 4
	bodies := make([][]byte, n)
	each(makers, func(m int) {
		for i := m; i < n; i += makers {
			bodies[i] = req.body(from + i)
		}
	})
	return bodies
}

type loader struct {
	host, path string
	accept     func(int, []byte) error
	bodies     [][]byte
	next       atomic.Int64
	failed     atomic.Int64
	shed       atomic.Int64

	once    sync.Once
	failure error
}

// connection is one client's. It speaks HTTP/1.1 with as little as that takes: the
// processors are the server's too, and net/http's client takes as much of them as
// many a server.
type connection struct {
	*loader
	conn   net.Conn
	in     *bufio.Reader
	out    []byte
	answer bytes.Buffer
}

func (c *connection) close() {
	if c.conn != nil {
		_ = c.conn.Close() // all that was asked for has been read, or has failed
		c.conn = nil
	}
}

// work posts until the deadline and gives the time of each request.
func (c *connection) work(ctx context.Context, deadline time.Time) []time.Duration {
	var times []time.Duration
	for {
		i := c.next.Add(1) - 1
		start := time.Now()
		if i >= int64(len(c.bodies)) || !start.Before(deadline) || ctx.Err() != nil {
			return times
		}
		wait := c.post(ctx, c.bodies[i])
		if wait == 0 {
			times = append(times, time.Since(start))
			continue
		}
		select {
		case <-time.After(min(wait, time.Until(deadline))):
		case <-ctx.Done():
		}
	}
}

// post posts a body. A server that sheds load says how long to wait before the next.
func (c *connection) post(ctx context.Context, body []byte) (wait time.Duration) {
	err := c.try(ctx, body)
	var shed shedError
	switch {
	case errors.As(err, &shed):
		c.shed.Add(1)
		return time.Duration(shed)
	case err != nil:
		c.close()
		c.failed.Add(1)
		c.once.Do(func() { c.failure = err })
	}
	return 0
}

// shedError is the refusal of a server that has too much to do: when to come again.
type shedError time.Duration

func (e shedError) Error() string { return "come again in " + time.Duration(e).String() }

// answerTime is how long an answer may take.
const answerTime = time.Minute

func (c *connection) try(ctx context.Context, body []byte) error {
	if err := c.dial(ctx); err != nil {
		return err
	}
	if err := c.conn.SetDeadline(time.Now().Add(answerTime)); err != nil {
		return err
	}
	c.out = fmt.Appendf(c.out[:0], "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", c.path, c.host, len(body))
	if _, err := c.conn.Write(append(c.out, body...)); err != nil {
		return err
	}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // it has been read
	c.answer.Reset()
	if _, err := c.answer.ReadFrom(io.LimitReader(resp.Body, 1<<20)); err != nil {
		return err
	}
	if resp.Close {
		c.close()
	}
	if after, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && resp.StatusCode == http.StatusServiceUnavailable {
		return shedError(time.Duration(max(after, 1)) * time.Second)
	}
	if err := c.accept(resp.StatusCode, c.answer.Bytes()); err != nil {
		return fmt.Errorf("%w: status %d, %.300s", err, resp.StatusCode, c.answer.Bytes())
	}
	return nil
}

func (c *connection) dial(ctx context.Context) (err error) {
	if c.conn == nil {
		if c.conn, err = new(net.Dialer).DialContext(ctx, "tcp", c.host); err == nil {
			c.in = bufio.NewReader(c.conn)
		}
	}
	return err
}

func (l *loader) result(s *server, times []time.Duration, elapsed, cpu time.Duration) (result, error) {
	if len(times) == 0 {
		return result{}, fmt.Errorf("%s answered nothing in time", s.name)
	}
	slices.Sort(times)
	at := func(p float64) time.Duration { return times[int(p*float64(len(times)-1))] }
	peak, err := s.memory("VmHWM")
	return result{
		done: len(times), failed: int(l.failed.Load()), shed: int(l.shed.Load()), elapsed: elapsed,
		p50: at(.5), p99: at(.99), max: at(1), cpu: cpu / time.Duration(len(times)), peak: peak, failure: l.failure,
	}, err
}
