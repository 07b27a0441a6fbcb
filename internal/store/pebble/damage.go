package pebble

import (
	"errors"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"github.com/sigbox/sigbox"
)

// readError gives the error for a failed read of Pebble's: of damage in a file it says
// so in our words. nil stays nil.
func (kv *KV) readError(err error) error {
	if err == nil || !pebble.IsCorruptionError(err) {
		return err
	}
	return damaged(kv.dir, err)
}

// damaged is the error for a store of which a file does not give back what was written.
func damaged(dir string, err error) *sigbox.Error {
	return sigbox.Errorf(sigbox.Fatal, "the store in %s is damaged: %s", dir, firstLine(err)).
		WithHint("restore that file, or the directory as a whole, from a copy; docs/operations.md says how")
}

// firstLine is what Pebble says of damage, without what it carries along for its own
// use: notes of its authors, and stacks.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return strings.ReplaceAll(line, "pebble: ", "")
}

// corrupted is told of damage that Pebble has come upon: nothing more is written, and
// reads of other data go on.
func (kv *KV) corrupted(i pebble.DataCorruptionInfo) {
	err := i.Details
	if err == nil {
		err = errors.New("it cannot be read")
	}
	_ = kv.breakWith(damaged(kv.dir, errors.New(kv.fs.PathBase(i.Path)+": "+firstLine(err)))) // who writes next is told
}
