// Twoyears runs a repository for two years by a clock of its own, for tests of clients that
// were written by others:
//
//	twoyears DIR
//
// DIR/NN/ is what it has published every two weeks, DIR/NN/when the time. Its root has
// three keys of which two sign, and the key for the rest is replaced after a year.
package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/sigbox/sigbox/internal/tuf"
)

const (
	day    = 24 * time.Hour
	period = 14 * day
	points = 2 * 365 / 14
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: twoyears DIR")
	}
	if err := run(os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func run(dir string) error {
	var keys [5]crypto.Signer
	for i := range keys {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		keys[i] = key
	}
	now := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	cfg := tuf.Config{
		Dir: filepath.Join(dir, "repository"), RootKeys: keys[:3], Threshold: 2, OnlineKey: keys[3],
		Targets: map[string][]byte{"trusted_root.json": []byte("{}")}, Now: func() time.Time { return now },
	}
	repository, err := tuf.Open(cfg)
	if err != nil {
		return err
	}
	for point := range points {
		if point == points/2 {
			if err := repository.Rekey(keys[4]); err != nil {
				return err
			}
		}
		if err := keep(filepath.Join(dir, fmt.Sprintf("%02d", point)), cfg.Dir, now); err != nil {
			return err
		}
		for end := now.Add(period); now.Before(end); now = now.Add(time.Hour) {
			if err := repository.Renew(); err != nil {
				return err
			}
		}
	}
	return nil
}

// keep copies what is published.
func keep(to, from string, when time.Time) error {
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(to, "when"), []byte(when.Format(time.RFC3339)), 0o600)
}
