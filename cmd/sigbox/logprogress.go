package main

import (
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// meter shows how far the parts of a long task are, one after another: a bar for a
// part whose end is known, else a number. Its methods are called by one goroutine at
// a time.
type meter struct {
	e    *env
	what string
	bar  progress
}

func (e *env) newMeter() *meter { return &meter{e: e} }

// set shows that done of total steps of a part are through; a total of 0 is one that
// nobody knows.
func (m *meter) set(what string, done, total uint64) {
	if what != m.what {
		m.done()
		m.what = what
		m.bar = m.e.meterBar(what, total)
	}
	if m.bar.bar != nil {
		m.bar.bar.SetCurrent(barSteps(done))
	}
}

// done takes away what is shown.
func (m *meter) done() {
	m.bar.done()
	m.bar = progress{}
}

func (e *env) meterBar(what string, total uint64) progress {
	if !isTerminal(e.stderr) {
		return progress{}
	}
	delay := make(chan struct{})
	time.AfterFunc(progressDelay, func() { close(delay) })
	all := mpb.New(mpb.WithOutput(e.stderr), mpb.WithRenderDelay(delay), mpb.WithWidth(40))
	if total == 0 {
		return progress{all, all.New(0, mpb.SpinnerStyle(), mpb.BarRemoveOnComplete(),
			mpb.PrependDecorators(decor.Name(what+" "), decor.CurrentNoUnit("%d")))}
	}
	return progress{all, all.AddBar(barSteps(total), mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name(what+" "), decor.CountersNoUnit("%d/%d")),
		mpb.AppendDecorators(decor.AverageSpeed(0, "%.0f/s "), decor.AverageETA(decor.ET_STYLE_MMSS)))}
}

// barSteps is a number of steps as bars have it.
func barSteps(n uint64) int64 { return int64(min(n, 1<<62)) } // #nosec G115 -- bounded
