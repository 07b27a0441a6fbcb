package remote

import (
	"strings"
	"testing"

	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"github.com/sigbox/sigbox/internal/hostile"
)

// hostileMetadata is as long as a role's may be.
func hostileMetadata(role string, limit int) []hostile.Input {
	head := `{"signatures":[],"signed":{"_type":"` + role + `","version":1,"expires":"2036-05-06T07:08:09Z","spec_version":"1.0.31",`
	fill := func(name, head, unit, tail string) hostile.Input {
		return hostile.FillTo(role+", "+name, limit, head, unit, tail)
	}
	inputs := []hostile.Input{
		fill("members", head+`"":0`, `,"#":0`, "}}"),
		fill("signatures", strings.Replace(head, "[]", `[{}`, 1)[:len(`{"signatures":[{}`)], `,{"keyid":"#"}`, "]}"),
	}
	for _, member := range []string{"keys", "roles", "meta", "targets"} {
		inputs = append(inputs, fill(member, head+`"`+member+`":{"":{}`, `,"#":{}`, "}}}"))
	}
	return append(inputs,
		fill("targets with hashes", head+`"targets":{"":{"length":1,"hashes":{"a":"00"}}`, `,"#":{"length":1,"hashes":{"a":"00"}}`, "}}}"),
		fill("hashes", head+`"targets":{"a":{"length":1,"hashes":{"a":"00"`, `,"#":"00"`, "}}}}}"))
}

// TestTUFLimits: metadata as long as it may be is no more than the program can bear,
// also in the library that reads it after us.
func TestTUFLimits(t *testing.T) {
	for role, limit := range map[string]int{"root": maxTUFRoot, "timestamp": maxTUFTimestamp, "snapshot": maxTUFSnapshot, "targets": maxTUFTargets} {
		hostile.Test(t, func(b []byte) error {
			if err := checkTUF(b, role); err != nil {
				return err
			}
			if role != "root" {
				return nil
			}
			_, err := trustedmetadata.New(b)
			return err
		}, hostileMetadata(role, limit)...)
	}
}
