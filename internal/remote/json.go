package remote

import (
	"github.com/go-json-experiment/json"
)

// decodeJSON reads what a server answered: case-sensitive, without duplicate
// names or broken UTF-8. Members that we do not know are let be, since servers
// may say more than we ask.
func decodeJSON(b []byte, into any) error { return json.Unmarshal(b, into) }

// encodeJSON writes a request of ours.
func encodeJSON(v any) ([]byte, error) { return json.Marshal(v, json.Deterministic(true)) }
