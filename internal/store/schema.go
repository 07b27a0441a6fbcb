package store

import (
	"context"
	"errors"
	"strconv"

	"github.com/sigbox/sigbox"
)

// schemaKey holds the layout's version as a decimal number. It sorts before
// every prefix in use.
const schemaKey = "\x00schema"

// Migration brings a store from one version to the next. It must be safe to run
// again after it was interrupted; the version is raised after it has returned.
type Migration func(ctx context.Context, kv KV) error

// migrations has at i what leads from version i+1 to i+2. It is never changed.
var migrations = [SchemaVersion - 1]Migration{}

// Prepare makes kv ready for this build: an empty store is given the version, an
// older one is migrated, a newer one is refused. Each store calls it when it is
// opened.
func Prepare(ctx context.Context, kv KV) error { return prepare(ctx, kv, migrations[:]) }

// prepare is Prepare for any table of migrations, whose length tells the version.
func prepare(ctx context.Context, kv KV, table []Migration) error {
	want := len(table) + 1
	have, raw, err := schemaOf(ctx, kv)
	if err != nil {
		return err
	}
	if have == 0 {
		return fresh(ctx, kv, want)
	}
	if have > want {
		return sigbox.Mismatch(sigbox.Invalid, "the store was written by a newer sigbox", "schema version "+strconv.Itoa(want)+" or older", have).
			WithHint("install the version that wrote it, or a newer one")
	}
	for ; have < want; have++ {
		if err := table[have-1](ctx, kv); err != nil {
			return sigbox.Errorf(sigbox.Internal, "cannot migrate the store from schema version %d to %d: %w", have, have+1, err)
		}
		next := []byte(strconv.Itoa(have + 1))
		err := kv.Commit(ctx, Batch{
			Checks: []Check{{[]byte(schemaKey), raw}},
			Writes: []Pair{{[]byte(schemaKey), next}},
		})
		if err != nil {
			return sigbox.Errorf(sigbox.Internal, "cannot record the store's schema version %d: %w", have+1, err)
		}
		raw = next
	}
	return nil
}

// schemaOf reads the version; 0 means that there is none.
func schemaOf(ctx context.Context, kv KV) (version int, raw []byte, err error) {
	raw, err = kv.Get(ctx, []byte(schemaKey))
	if errors.Is(err, ErrNotFound) {
		return 0, nil, nil
	}
	if err != nil {
		return 0, nil, err
	}
	version, err = strconv.Atoi(string(raw))
	if err != nil || version < 1 || strconv.Itoa(version) != string(raw) {
		return 0, nil, sigbox.Errorf(sigbox.Invalid, "the store's schema version %.20q is not a number: the store is damaged or not one of sigbox", raw)
	}
	return version, raw, nil
}

// fresh gives an empty store its version.
func fresh(ctx context.Context, kv KV, version int) error {
	for _, err := range kv.Scan(ctx, nil, nil) {
		if err != nil {
			return err
		}
		return sigbox.Errorf(sigbox.Invalid, "the store has content but no schema version: it is damaged or not one of sigbox").
			WithHint("restore it from a backup, or start with an empty directory")
	}
	err := kv.Commit(ctx, Batch{
		Checks: []Check{{Key: []byte(schemaKey)}},
		Writes: []Pair{{[]byte(schemaKey), []byte(strconv.Itoa(version))}},
	})
	if errors.Is(err, ErrConflict) { // another replica was first
		return nil
	}
	return err
}
