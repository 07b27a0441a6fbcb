package app_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/entry"
)

// signedEntry is the request to log a signature over text.
func signedEntry(key crypto.Signer, text string) ([]byte, error) {
	digest := sha256.Sum256([]byte(text))
	sig, err := key.Sign(nil, digest[:], crypto.SHA256)
	if err != nil {
		return nil, err
	}
	pub, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	return entry.AppendRequest(nil, sigbox.Entry{
		Digest: sigbox.Digest{Algorithm: sigbox.SHA256, Value: digest[:]}, Signature: sig,
		PublicKey: pub, Details: sigbox.ECDSAP256SHA256,
	}), nil
}

// post logs an entry.
func post(ctx context.Context, url string, request []byte) (sigbox.LogEntry, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/api/v2/log/entries", bytes.NewReader(request))
	if err != nil {
		return sigbox.LogEntry{}, err
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return sigbox.LogEntry{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return sigbox.LogEntry{}, err
	}
	if resp.StatusCode != http.StatusCreated {
		return sigbox.LogEntry{}, fmt.Errorf("status %d: %s", resp.StatusCode, body)
	}
	return entry.ParseLogEntry(body)
}
