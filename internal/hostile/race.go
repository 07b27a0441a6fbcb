//go:build race

package hostile

// underRace says that this is built with the race detector.
const underRace = true
