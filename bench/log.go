package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// startSigbox starts a whole instance with its defaults; tokens of issuer, if
// any, are taken.
func startSigbox(ctx context.Context, c config, issuer string) (*server, error) {
	return startAudited(ctx, c, issuer, false)
}

// startAudited has what it issues in an audit log as well, if it is told to.
func startAudited(ctx context.Context, c config, issuer string, audited bool) (*server, error) {
	return start(ctx, c, "sigbox", "/readyz", func(addr, _, dir string) []string {
		args := []string{"serve", "--data", filepath.Join(dir, "data"), "--listen", addr}
		if issuer != "" {
			file := filepath.Join(dir, "config.yaml")
			text := fmt.Sprintf("issuers:\n- {url: %q, type: email, audience: sigstore}\n", issuer)
			if audited {
				text += fmt.Sprintf("audit: {file: %q, required: true}\n", filepath.Join(dir, "audit.jsonl"))
			}
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				say("%v", err) // the server will say that it is missing
			}
			args = append(args, "--config", file)
		}
		return args
	})
}

// startRekorTiles starts rekor-tiles on a directory, with the settings that gave
// the best figures in trials: checkpoints ten times a second (default: every 10
// s), small batches, and room for all clients.
func startRekorTiles(ctx context.Context, c config) (*server, error) {
	key := filepath.Join(c.work, "rekor-tiles.pem")
	if err := writeKey(key); err != nil {
		return nil, err
	}
	grpc, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	metrics, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	return start(ctx, c, "rekor-tiles", "/healthz", func(_, port, dir string) []string {
		return []string{"serve", "--hostname", "rekor.local", "--storage-dir", filepath.Join(dir, "log"), "--signer-filepath", key,
			"--http-port", port, "--grpc-port", grpc, "--http-metrics-port", metrics, "--log-level", "error", "--server-timeout", "60s",
			"--checkpoint-interval", "100ms", "--batch-max-age", "10ms", "--pushback-max-outstanding", "8192"}
	})
}

func freePort(ctx context.Context) (string, error) {
	_, port, err := freeAddress(ctx)
	return port, err
}

// writeKey makes an Ed25519 key file.
func writeKey(path string) error {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}

// measureLog writes entries to both logs with ever more clients: new ones, those
// that are there, new ones by the older protocol; then it has logs grow.
func measureLog(ctx context.Context, c config, t *table) error {
	ours, err := startSigbox(ctx, c, "")
	if err != nil {
		return err
	}
	mine, err := sweepAll(ctx, c, ours, 16000, 20000)
	if err == nil {
		mine["v1"], err = sweep(ctx, c, ours, logRequestV1, 12000)
	}
	ours.stop()
	if err != nil {
		return err
	}
	theirs := map[string][]result{"new": make([]result, len(c.clients)), "again": make([]result, len(c.clients))}
	if !c.alone {
		peer, err := startRekorTiles(ctx, c)
		if err != nil {
			return err
		}
		theirs, err = sweepAll(ctx, c, peer, 4000, 16000)
		peer.stop()
		if err != nil {
			return err
		}
	}
	logRows(c, t, mine, theirs)
	return measureGrowth(ctx, c, t)
}

// logRows prints what sweeps have found.
func logRows(c config, t *table, mine, theirs map[string][]result) {
	const peer = "rekor-tiles 2.3.0"
	rows := func(what, kind string) {
		for i, n := range c.clients {
			m, p := mine[kind][i], theirs[kind][i]
			t.add(what, strconv.Itoa(n), m.String(), peerCell(c, peer, p), times(m.rate(), p.rate()))
		}
	}
	rows("log entries, durable, with proof", "new")
	if !c.alone {
		best, peerBest := fastest(mine["new"]), fastest(theirs["new"])
		t.add("log entries, each at its best", "", thousands(best)+"/s", peer+": "+thousands(peerBest)+"/s", times(best, peerBest))
	}
	rows("the same entries again", "again")
	for i, n := range c.clients {
		t.add("log entries, Rekor v1, with SET and proof", strconv.Itoa(n), mine["v1"][i].String(), "", "")
	}
}

func fastest(results []result) (best float64) {
	for _, r := range results {
		best = max(best, r.rate())
	}
	return best
}

// sweepAll measures what both servers have. The rates are more than they answer.
func sweepAll(ctx context.Context, c config, s *server, rate, retries int) (map[string][]result, error) {
	fresh, err := sweep(ctx, c, s, logRequest, rate)
	if err != nil {
		return nil, err
	}
	again, err := sweep(ctx, c, s, func() (request, error) { return retryRequest(ctx, s) }, retries)
	return map[string][]result{"new": fresh, "again": again}, err
}

// sweep measures one server at each number of clients.
func sweep(ctx context.Context, c config, s *server, of func() (request, error), rate int) ([]result, error) {
	var results []result
	for _, n := range c.clients {
		req, err := of()
		if err != nil {
			return nil, err
		}
		if req.rate = rate; n == 1 {
			req.rate = min(rate, 5000)
		}
		r, err := load(ctx, s, req, n, c.span)
		if err != nil {
			return nil, err
		}
		if r.failed > 0 {
			say("%s, %d clients: %d requests failed, the first: %v", s.name, n, r.failed, r.failure)
		}
		say("%s, %s, %d clients: %s", s.name, req.path, n, r)
		results = append(results, r)
	}
	return results, nil
}

func peerCell(c config, name string, r result) string {
	if c.alone {
		return ""
	}
	return name + ": " + r.String()
}

// growthWindows is how many rows there are on how a log grows.
const growthWindows = 5

// growthClients is a number at which both logs are near their best.
const growthClients = 1024

// measureGrowth fills both logs and prints what an entry costs on the way.
func measureGrowth(ctx context.Context, c config, t *table) error {
	if c.grow == 0 {
		return nil
	}
	ours, err := startSigbox(ctx, c, "")
	if err != nil {
		return err
	}
	mine, err := grow(ctx, c, ours)
	ours.stop()
	if err != nil {
		return err
	}
	var theirs []growth
	if !c.alone {
		peer, err := startRekorTiles(ctx, c)
		if err != nil {
			return err
		}
		theirs, err = grow(ctx, c, peer)
		peer.stop()
		if err != nil {
			return err
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "What an entry costs as a log grows, %d clients:\n\n", growthClients)
	fmt.Fprintln(&b, "| entries | log | entries/s | cpu µs/entry | written B/entry | stored B/entry | resident MB |\n| --: | --- | --: | --: | --: | --: | --: |")
	for i, g := range mine {
		fmt.Fprintln(&b, g.row("sigbox"))
		if theirs != nil {
			fmt.Fprintln(&b, theirs[i].row("rekor-tiles 2.3.0"))
		}
	}
	t.more = append(t.more, b.String())
	return nil
}

// growth is what a part of the entries has cost.
type growth struct {
	to              int // entries in the log then
	rate            float64
	cpu             time.Duration // an entry
	written, stored int64         // bytes an entry; stored: of all there are
	resident        int64
}

func (g growth) row(name string) string {
	return fmt.Sprintf("| %s | %s | %s | %d | %s | %s | %d |", thousands(float64(g.to)), name, thousands(g.rate), g.cpu.Microseconds(),
		thousands(float64(g.written)), thousands(float64(g.stored)), g.resident>>20)
}

// grow fills a log. What the server does of itself between two parts counts for the
// first one of them.
func grow(ctx context.Context, c config, s *server) ([]growth, error) {
	req, err := logRequest()
	if err != nil {
		return nil, err
	}
	before, err := s.used()
	if err != nil {
		return nil, err
	}
	var rows []growth
	n := max(c.grow/growthWindows, 2*growthClients)
	for to := n; len(rows) < growthWindows; to += n {
		r, err := fill(ctx, s, req, to-n, n)
		if err != nil {
			return nil, err
		}
		after, err := s.used()
		if err != nil {
			return nil, err
		}
		g := growth{to: to, rate: r, cpu: (after.cpu - before.cpu) / time.Duration(n), written: (after.written - before.written) / int64(n), stored: s.storedBytes() / int64(to)}
		if g.resident, err = s.memory("VmRSS"); err != nil {
			return nil, err
		}
		say("%s, growing: %s", s.name, g.row(s.name))
		rows, before = append(rows, g), after
	}
	return rows, nil
}

// fillAtOnce bounds the bodies that are made before they are sent: they take memory.
const fillAtOnce = 50_000

// fill logs n entries, from one on, and gives the rate at which it did.
func fill(ctx context.Context, s *server, req request, from, n int) (float64, error) {
	var elapsed time.Duration
	for done := 0; done < n; {
		bodies := makeBodies(req, from+done, min(fillAtOnce, n-done))
		r, err := loadBodies(ctx, s, req, bodies, growthClients, time.Hour)
		if err == nil && r.failed > 0 {
			err = r.failure
		}
		if err != nil {
			return 0, err
		}
		elapsed += r.elapsed
		done += len(bodies)
	}
	return float64(n) / elapsed.Seconds(), nil
}

// retried is how many entries are sent again and again.
const retried = 20_000

// retryRequest logs entries, and makes requests to log them again. A log may answer
// that it has them.
func retryRequest(ctx context.Context, s *server) (request, error) {
	req, err := logRequest()
	if err != nil {
		return request{}, err
	}
	bodies := makeBodies(req, 0, retried)
	r, err := loadBodies(ctx, s, req, bodies, 256, time.Minute)
	if err == nil && r.failed > 0 {
		err = r.failure
	}
	req.body = func(i int) []byte { return bodies[i%retried] }
	accept := req.accept
	req.accept = func(status int, body []byte) error {
		if status == http.StatusConflict {
			return nil
		}
		return accept(status, body)
	}
	return req, err
}

// logRequest makes hashedrekord requests, all with one key and each with a
// signature of its own.
func logRequest() (request, error) {
	e, err := newEntries()
	if err != nil {
		return request{}, err
	}
	b64 := base64.StdEncoding.EncodeToString
	pub := b64(e.public)
	return request{
		path: "/api/v2/log/entries", accept: accepted(`"inclusionProof":{`),
		body: func(i int) []byte {
			d, sig := e.entry(i)
			return fmt.Appendf(nil, `{"hashedRekordRequestV002":{"digest":%q,"signature":{"content":%q,"verifier":{"publicKey":{"rawBytes":%q},"keyDetails":"PKIX_ECDSA_P256_SHA_256"}}}}`,
				b64(d), b64(sig), pub)
		},
	}, nil
}

// logRequestV1 is logRequest for the older protocol.
func logRequestV1() (request, error) {
	e, err := newEntries()
	if err != nil {
		return request{}, err
	}
	b64 := base64.StdEncoding.EncodeToString
	pub := b64(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: e.public}))
	return request{
		path: "/api/v1/log/entries", accept: accepted(`"signedEntryTimestamp":`),
		body: func(i int) []byte {
			d, sig := e.entry(i)
			return fmt.Appendf(nil, `{"kind":"hashedrekord","apiVersion":"0.0.1","spec":{"data":{"hash":{"algorithm":"sha256","value":"%x"}},"signature":{"content":%q,"publicKey":{"content":%q}}}}`,
				d, b64(sig), pub)
		},
	}, nil
}

// accepted takes a new entry's answer that holds some text.
func accepted(text string) func(int, []byte) error {
	return func(status int, body []byte) error {
		if status != http.StatusCreated || !bytes.Contains(body, []byte(text)) {
			return errors.New("no entry with " + text)
		}
		return nil
	}
}

// entries are what one key signs.
type entries struct {
	key    *ecdsa.PrivateKey
	public []byte // DER
	salt   [16]byte
}

func newEntries() (*entries, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	e := &entries{key: key}
	if e.public, err = x509.MarshalPKIXPublicKey(&key.PublicKey); err != nil {
		return nil, err
	}
	_, _ = rand.Read(e.salt[:]) // never fails
	return e, nil
}

// entry gives the digest and the signature of entry i.
func (e *entries) entry(i int) (digest, signature []byte) {
	d := uniqueDigest(e.salt, i)
	sig, err := ecdsa.SignASN1(rand.Reader, e.key, d[:])
	if err != nil {
		panic(err) // the random source does not fail
	}
	return d[:], sig
}

func uniqueDigest(salt [16]byte, i int) [32]byte {
	return sha256.Sum256(binary.BigEndian.AppendUint64(salt[:], uint64(i))) // #nosec G115 -- not negative
}
