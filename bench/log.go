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
)

// startSigbox starts a whole instance with its defaults; tokens of issuer, if
// any, are taken.
func startSigbox(ctx context.Context, c config, issuer string) (*server, error) {
	return start(ctx, c, "sigbox", "/readyz", func(addr, _, dir string) []string {
		args := []string{"serve", "--data", filepath.Join(dir, "data"), "--listen", addr}
		if issuer != "" {
			file := filepath.Join(dir, "config.yaml")
			text := fmt.Sprintf("issuers:\n- {url: %q, type: email, audience: sigstore}\n", issuer)
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

// measureLog writes entries to both logs with ever more clients.
func measureLog(ctx context.Context, c config, t *table) error {
	ours, err := startSigbox(ctx, c, "")
	if err != nil {
		return err
	}
	mine, err := sweep(ctx, c, ours, 12000)
	ours.stop()
	if err != nil {
		return err
	}
	theirs := make([]result, len(c.clients))
	if !c.alone {
		peer, err := startRekorTiles(ctx, c)
		if err != nil {
			return err
		}
		theirs, err = sweep(ctx, c, peer, 4000)
		peer.stop()
		if err != nil {
			return err
		}
	}
	var best, peerBest float64
	for i, n := range c.clients {
		best, peerBest = max(best, mine[i].rate()), max(peerBest, theirs[i].rate())
		t.add("log entries, durable, with proof", strconv.Itoa(n), mine[i].String(), peerCell(c, "rekor-tiles 2.3.0", theirs[i]), times(mine[i].rate(), theirs[i].rate()))
	}
	if !c.alone {
		t.add("log entries, each at its best", "", thousands(best)+"/s", "rekor-tiles 2.3.0: "+thousands(peerBest)+"/s", times(best, peerBest))
	}
	return nil
}

func peerCell(c config, name string, r result) string {
	if c.alone {
		return ""
	}
	return name + ": " + r.String()
}

// sweep measures one server at each number of clients.
func sweep(ctx context.Context, c config, s *server, rate int) ([]result, error) {
	var results []result
	for _, n := range c.clients {
		req, err := logRequest(rate)
		if err != nil {
			return nil, err
		}
		if n == 1 {
			req.rate = min(rate, 5000)
		}
		r, err := load(ctx, s, req, n, c.span)
		if err != nil {
			return nil, err
		}
		if r.failed > 0 {
			say("%s, %d clients: %d requests failed, the first: %v", s.name, n, r.failed, r.failure)
		}
		say("%s, %d clients: %s", s.name, n, r)
		results = append(results, r)
	}
	return results, nil
}

// logRequest makes hashedrekord requests, all with one key and each with a
// signature of its own.
func logRequest(rate int) (request, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return request{}, err
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return request{}, err
	}
	var salt [16]byte
	if _, err := rand.Read(salt[:]); err != nil {
		return request{}, err
	}
	b64 := base64.StdEncoding.EncodeToString
	pub := b64(der)
	return request{
		path: "/api/v2/log/entries", rate: rate,
		accept: func(status int, body []byte) error {
			if status != http.StatusCreated || !bytes.Contains(body, []byte(`"inclusionProof":{`)) {
				return errors.New("no proof")
			}
			return nil
		},
		body: func(i int) []byte {
			d := uniqueDigest(salt, i)
			sig, err := ecdsa.SignASN1(rand.Reader, key, d[:])
			if err != nil {
				panic(err) // the random source does not fail
			}
			return fmt.Appendf(nil, `{"hashedRekordRequestV002":{"digest":%q,"signature":{"content":%q,"verifier":{"publicKey":{"rawBytes":%q},"keyDetails":"PKIX_ECDSA_P256_SHA_256"}}}}`,
				b64(d[:]), b64(sig), pub)
		},
	}, nil
}

func uniqueDigest(salt [16]byte, i int) [32]byte {
	return sha256.Sum256(binary.BigEndian.AppendUint64(salt[:], uint64(i))) // #nosec G115 -- not negative
}
