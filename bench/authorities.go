package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
)

// authorityClients is how many clients ask for certificates and timestamps: as many as
// keep two processors busy, as many as fill the batches of a log, and far too many.
func authorityClients() []int { return []int{32, 64, 2048} }

// measureCertificates asks for short-lived certificates, each with a key, a token
// and a proof of possession of its own. Ours are in a durable CT log before they
// leave; fulcio runs without any.
func measureCertificates(ctx context.Context, c config, t *table) error {
	i, err := startIssuer(ctx)
	if err != nil {
		return err
	}
	defer i.stop()
	ours, err := startSigbox(ctx, c, i.url)
	if err != nil {
		return err
	}
	err = compare(ctx, c, t, "certificates", certificateRequest(i), ours, "fulcio 1.8.8, without a CT log", func() (*server, error) {
		return startFulcio(ctx, c, i.url)
	})
	if err != nil {
		return err
	}
	return measureAudited(ctx, c, t, i)
}

// measureAudited asks for certificates of which each is in a durable audit log before it
// leaves, as it is in the CT log.
func measureAudited(ctx context.Context, c config, t *table, i *issuer) error {
	s, err := startAudited(ctx, c, i.url, true)
	if err != nil {
		return err
	}
	results, err := loads(ctx, c, certificateRequest(i), s)
	s.stop()
	if err != nil {
		return err
	}
	for n, clients := range authorityClients() {
		t.add("certificates, audited", strconv.Itoa(clients), results[n].String(), "", "")
	}
	return nil
}

// measureTimestamps asks for RFC 3161 timestamps.
func measureTimestamps(ctx context.Context, c config, t *table) error {
	ours, err := startSigbox(ctx, c, "")
	if err != nil {
		return err
	}
	return compare(ctx, c, t, "timestamps", timestampRequest(), ours, "timestamp-server 2.1.3", func() (*server, error) {
		return startTimestampServer(ctx, c)
	})
}

func startTimestampServer(ctx context.Context, c config) (*server, error) {
	return start(ctx, c, "timestamp-server", "/ping", func(_, port, _ string) []string {
		return []string{"serve", "--host", "127.0.0.1", "--port", port, "--timestamp-signer", "memory", "--disable-ntp-monitoring", "--log-type", "prod"}
	})
}

// compare measures ours, ends it, and does the same with a peer.
func compare(ctx context.Context, c config, t *table, what string, req request, ours *server, peerName string, startPeer func() (*server, error)) error {
	mine, err := loads(ctx, c, req, ours)
	ours.stop()
	if err != nil {
		return err
	}
	theirs := make([]result, len(mine))
	if !c.alone {
		peer, err := startPeer()
		if err != nil {
			return err
		}
		theirs, err = loads(ctx, c, req, peer)
		peer.stop()
		if err != nil {
			return err
		}
	}
	for i, clients := range authorityClients() {
		t.add(what, strconv.Itoa(clients), mine[i].String(), peerCell(c, peerName, theirs[i]), times(mine[i].rate(), theirs[i].rate()))
	}
	return nil
}

// loads measures one server with each number of clients. Each has bodies of its own.
func loads(ctx context.Context, c config, req request, s *server) ([]result, error) {
	var results []result
	made := 0
	for _, clients := range authorityClients() {
		n := int(float64(req.rate)*c.span.Seconds()) + clients
		r, err := loadBodies(ctx, s, req, makeBodies(req, made, n), clients, c.span)
		if err != nil {
			return nil, err
		}
		results, made = append(results, r), made+n
	}
	return results, nil
}

func startFulcio(ctx context.Context, c config, issuer string) (*server, error) {
	grpc, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	metrics, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	settings := filepath.Join(c.work, "fulcio.json")
	text, err := json.Marshal(map[string]any{"OIDCIssuers": map[string]any{
		issuer: map[string]string{"IssuerURL": issuer, "ClientID": "sigstore", "Type": "email"}}})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(settings, text, 0o600); err != nil {
		return nil, err
	}
	return start(ctx, c, "fulcio", "/healthz", func(_, port, dir string) []string {
		return []string{"serve", "--host", "127.0.0.1", "--port", port, "--grpc-host", "127.0.0.1", "--grpc-port", grpc, "--metrics-port", metrics,
			"--ca", "ephemeralca", "--ct-log-url", "", "--config-path", settings, "--log_type", "prod",
			"--legacy-unix-domain-socket", filepath.Join(dir, "legacy.sock")}
	})
}

func certificateRequest(i *issuer) request {
	return request{
		path: "/api/v2/signingCert", rate: 5000,
		accept: func(status int, body []byte) error {
			if status != http.StatusOK || !bytes.Contains(body, []byte("BEGIN CERTIFICATE")) {
				return errors.New("no certificate")
			}
			return nil
		},
		body: func(n int) []byte {
			b, err := certificateBody(i, fmt.Sprintf("dev%d@example.com", n))
			if err != nil {
				panic(err) // the random source does not fail
			}
			return b
		},
	}
}

func certificateBody(i *issuer, email string) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	token, err := i.token(email)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256([]byte(email))
	proof, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]any{
		"credentials": map[string]any{"oidcIdentityToken": token},
		"publicKeyRequest": map[string]any{
			"publicKey":         map[string]any{"algorithm": "ECDSA", "content": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))},
			"proofOfPossession": proof,
		},
	})
}

func timestampRequest() request {
	var salt [16]byte
	_, _ = rand.Read(salt[:]) // never fails
	return request{
		path: "/api/v1/timestamp", rate: 25000,
		accept: func(status int, body []byte) error {
			if status/100 != 2 || len(body) < 100 {
				return errors.New("no timestamp")
			}
			return nil
		},
		body: func(i int) []byte {
			d := uniqueDigest(salt, i)
			b, err := json.Marshal(map[string]any{"artifactHash": d[:], "hashAlgorithm": "sha256", "certificates": true, "nonce": i + 1})
			if err != nil {
				panic(err) // strings and numbers
			}
			return b
		},
	}
}
