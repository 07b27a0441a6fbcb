//go:build !race

package tlog

// raceDetector says that all takes ten times as long.
const raceDetector = false
