package remote

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/verify"
	"github.com/sigbox/sigbox/wire/bundle"
	"github.com/sigbox/sigbox/wire/cosign"
	"github.com/sigbox/sigbox/wire/entry"
)

var (
	artifact  = []byte("what was built")
	statement = sigboxtest.Statement("https://slsa.dev/provenance/v1", artifact)
)

// answerV1 writes an entry as a v1 log answers it.
func answerV1(le *sigbox.LogEntry) string {
	p := le.Inclusion
	hashes := make([]string, len(p.Hashes))
	for i, h := range p.Hashes {
		hashes[i] = hex.EncodeToString(h)
	}
	b, err := json.Marshal(map[string]any{hex.EncodeToString(bytes.Repeat([]byte{7}, 40)): map[string]any{
		"attestation": map[string]any{}, "body": le.Body, "integratedTime": le.IntegratedTime,
		"logID": hex.EncodeToString(le.LogID), "logIndex": le.LogIndex,
		"verification": map[string]any{
			"signedEntryTimestamp": le.SignedEntryTimestamp,
			"inclusionProof": map[string]any{
				"checkpoint": p.Checkpoint, "hashes": hashes, "logIndex": p.LogIndex, "rootHash": hex.EncodeToString(p.RootHash), "treeSize": p.TreeSize,
			},
		},
	}})
	if err != nil {
		panic(err)
	}
	return string(b)
}

// logV1 is a log that has entries, found as Rekor finds them: by what the proposed
// entries would become.
func logV1(t *testing.T, entries ...sigbox.LogEntry) string {
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.Path != "/api/v1/log/entries/retrieve" || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s of type %s", r.Method, r.URL.Path, r.Header.Get("Content-Type"))
		}
		var query struct {
			Entries []json.RawMessage `json:"entries"`
		}
		if err := json.NewDecoder(r.Body).Decode(&query); err != nil {
			t.Error(err)
		}
		var found []string
		for _, proposal := range query.Entries {
			for i := range entries {
				if becomes(t, proposal, &entries[i]) {
					found = append(found, answerV1(&entries[i]))
				}
			}
		}
		_, _ = io.WriteString(w, "["+strings.Join(found, ",")+"]\n")
	})
}

// becomes reports whether a proposed entry is that of le.
func becomes(t *testing.T, proposal []byte, le *sigbox.LogEntry) bool {
	var p struct {
		APIVersion, Kind string
		Spec             struct {
			ProposedContent struct {
				Envelope  string
				Verifiers [][]byte
			}
			Content struct {
				Envelope struct {
					Payload     []byte
					PayloadType string
					Signatures  []struct{ PublicKey, Sig []byte }
				}
				Hash struct{ Algorithm, Value string }
			}
		}
	}
	if err := json.Unmarshal(proposal, &p); err != nil {
		t.Error(err)
		return false
	}
	if p.Kind != le.Kind || p.APIVersion != le.Version {
		return false
	}
	if p.Kind == "hashedrekord" {
		canonical := jsontext.Value(bytes.Clone(proposal))
		if err := canonical.Canonicalize(); err != nil {
			t.Error(err)
		}
		return bytes.Equal(canonical, le.Body)
	}
	body, err := entry.ParseBody(le.Body)
	if err != nil {
		t.Fatal(err)
	}
	var verifier, signature, payload []byte
	if p.Kind == "dsse" {
		v, err := bundle.ParseEnvelope([]byte(p.Spec.ProposedContent.Envelope))
		if err != nil {
			t.Fatal(err)
		}
		verifier, signature, payload = p.Spec.ProposedContent.Verifiers[0], v.Signatures[0].Signature, v.Payload
	} else {
		e := p.Spec.Content.Envelope
		verifier, signature, payload = e.Signatures[0].PublicKey, decode64(t, e.Signatures[0].Sig), decode64(t, e.Payload)
		if e.PayloadType != body.PayloadType || p.Spec.Content.Hash.Algorithm != "sha256" || len(p.Spec.Content.Hash.Value) != 64 {
			return false
		}
	}
	block, _ := pem.Decode(verifier)
	s := body.Signatures[0]
	return bytes.Equal(s.Signature, signature) && bytes.Equal(append(s.Certificate, s.PublicKey...), block.Bytes) &&
		body.PayloadDigest.Equal(sigbox.SHA256.Sum(payload))
}

func decode64(t *testing.T, text []byte) []byte {
	b, err := base64.StdEncoding.AppendDecode(nil, text)
	if err != nil {
		t.Error(err)
	}
	return b
}

// TestFind: a signature and a certificate alone, and what the log has of them, verify.
func TestFind(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	verifier, err := verify.New(verify.Config{Roots: []*sigbox.TrustedRoot{w.Root()}})
	if err != nil {
		t.Fatal(err)
	}
	ada := sigboxtest.DefaultIdentity()
	policy := sigbox.Policy{
		Identities:     []sigbox.IdentityMatch{{Subject: ada.Subject, Issuer: ada.Issuer}},
		PredicateTypes: []string{sigbox.AnyPredicateType},
	}
	for _, kind := range []string{"hashedrekord 0.0.1", "dsse 0.0.1", "intoto 0.0.2"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			o := sigboxtest.Options{Kind: kind, NoTimestamp: true}
			sign := func() *sigbox.Bundle {
				if kind == "hashedrekord 0.0.1" {
					return w.Sign(artifact, o)
				}
				return w.Attest(statement, o)
			}
			signed := sign()
			url := logV1(t, sign().Entries[0], signed.Entries[0])

			files := sigboxtest.LegacyFiles(signed)
			files.Rekor = nil
			b, err := cosign.FromDetached(files)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := verifier.Verify(verify.Bytes(artifact), b, policy); verify.FailedStep(err) != verify.StepLog {
				t.Fatalf("without an entry: %v", err)
			}
			e := sigbox.Entry{Digest: sigbox.SHA256.Sum(artifact), Certificate: b.Certificates[0]}
			var envelope []byte
			if b.Envelope != nil {
				envelope, _ = cosign.Envelope(files.Signature)
			} else {
				e.Signature = b.Message.Signature
			}
			if b.Entries, err = client(t).LogV1(url+"/").Find(t.Context(), e, envelope); err != nil {
				t.Fatal(err)
			}
			if len(b.Entries) != 1 {
				t.Errorf("%d entries", len(b.Entries))
			}
			if _, err := verifier.Verify(verify.Bytes(artifact), b, policy); err != nil {
				t.Error(err)
			}

			e.Certificate, e.PublicKey = nil, []byte("another")
			_, err = client(t).LogV1(url).Find(t.Context(), e, envelope)
			wantError(t, err, sigbox.NotFound, "no entry of this signature")
		})
	}
}

// TestFoundIsNotTrusted: an entry of another signature is given as it came, and
// verify refuses it.
func TestFoundIsNotTrusted(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	o := sigboxtest.Options{Kind: "hashedrekord 0.0.1", NoTimestamp: true}
	b, other := w.Sign(artifact, o), w.Sign(artifact, o)
	found, err := client(t).LogV1(serve(t, answer(200, "["+answerV1(&other.Entries[0])+"]"))).Find(t.Context(), logged, nil)
	if err != nil {
		t.Fatal(err)
	}
	b.Entries = found
	verifier, err := verify.New(verify.Config{Roots: []*sigbox.TrustedRoot{w.Root()}})
	if err != nil {
		t.Fatal(err)
	}
	policy := sigbox.Policy{Identities: []sigbox.IdentityMatch{{SubjectRegexp: ".*", IssuerRegexp: ".*"}}}
	if _, err := verifier.Verify(verify.Bytes(artifact), b, policy); verify.FailedStep(err) != verify.StepEntry {
		t.Errorf("found %v", err)
	}
}

func TestFindBadAnswers(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	good := answerV1(&w.Sign(artifact, sigboxtest.Options{Kind: "hashedrekord 0.0.1"}).Entries[0])
	unpromised := w.Sign(artifact, sigboxtest.Options{Kind: "hashedrekord 0.0.2"}).Entries[0]
	endless := "[" + strings.Repeat(good+",", maxFound) + good + "]"
	for name, c := range map[string]struct {
		body string
		kind sigbox.Kind
		want string
	}{
		"empty":            {"", sigbox.Invalid, "a list of log entries"},
		"html":             {"<html>login</html>", sigbox.Invalid, "a list of log entries"},
		"one, no list":     {good, sigbox.Invalid, "a list of log entries"},
		"cut":              {"[" + good, sigbox.Invalid, "a list of log entries"},
		"none":             {"[]", sigbox.NotFound, "no entry of this signature"},
		"null":             {"null", sigbox.NotFound, "no entry of this signature"},
		"none in the list": {"[{}]", sigbox.NotFound, "no entry of this signature"},
		"endless":          {endless, sigbox.TooLarge, "more than 16 entries"},
		"huge":             {strings.Repeat(" ", maxFoundBytes+1), sigbox.TooLarge, "answered more than"},
		"a body of text":   {"[" + strings.Replace(good, `"body":"`, `"body":"!`, 1) + "]", sigbox.Invalid, "a list of log entries"},
		"a body of none":   {`[{"a":{"body":"e30=","logID":"c0d2"}}]`, sigbox.Invalid, "a log entry"},
		"an odd log":       {"[" + strings.Replace(good, `"logID":"`, `"logID":"x`, 1) + "]", sigbox.Invalid, "a log entry"},
		"without promise":  {"[" + answerV1(&unpromised) + "]", sigbox.Invalid, "no signed entry timestamp"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := client(t).LogV1(serve(t, answer(200, c.body))).Find(t.Context(), logged, nil)
			wantError(t, err, c.kind, c.want, "the transparency log at http")
		})
	}
}

func TestFindRefused(t *testing.T) {
	t.Parallel()
	for status, c := range map[int]struct {
		kind sigbox.Kind
		want string
	}{
		400: {sigbox.Invalid, "belong together?"},
		404: {sigbox.Invalid, "is it a log of Rekor v1?"},
		422: {sigbox.Invalid, "because"},
		429: {sigbox.Unavailable, "because"},
		500: {sigbox.Unavailable, "because"},
		503: {sigbox.Unavailable, "because"},
	} {
		_, err := client(t).LogV1(serve(t, answer(status, `{"code":1,"message":"because"}`))).Find(t.Context(), logged, nil)
		wantError(t, err, c.kind, c.want, fmt.Sprint(status))
	}
	t.Run("elsewhere", func(t *testing.T) {
		t.Parallel()
		var asked atomic.Bool
		other := serve(t, func(http.ResponseWriter, *http.Request) { asked.Store(true) })
		_, err := client(t).LogV1(serve(t, http.RedirectHandler(other, http.StatusTemporaryRedirect).ServeHTTP)).Find(t.Context(), logged, nil)
		wantError(t, err, sigbox.Invalid, "307")
		if asked.Load() {
			t.Error("the question went to another server")
		}
	})
	t.Run("slow", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		url := serve(t, func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // only then is it seen that the client has gone
			cancel()
			<-r.Context().Done()
		})
		_, err := client(t).LogV1(url).Find(ctx, logged, nil)
		wantError(t, err, sigbox.Unavailable, "interrupted")
	})
	t.Run("an endless envelope", func(t *testing.T) {
		t.Parallel()
		_, err := client(t).LogV1("http://127.0.0.1:1").Find(t.Context(), logged, make([]byte, entry.MaxRequestSize+1))
		wantError(t, err, sigbox.TooLarge, "envelope")
		_, err = client(t).LogV1("http://127.0.0.1:1").Find(t.Context(), logged, []byte("{"))
		wantError(t, err, sigbox.Invalid, "DSSE envelope")
	})
}
