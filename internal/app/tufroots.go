package app

import "crypto"

// tufRootKeys are the TUF root's keys that are at hand.
func (s *services) tufRootKeys() []crypto.Signer {
	if key := s.keys[tufRootKey]; key != nil {
		return []crypto.Signer{key}
	}
	return nil
}
