package chaos

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"gopush-cluster/internal/testenv"
)

var (
	duration = flag.Duration("duration", time.Minute, "how long TestChaos breaks things")
	seed     = flag.Uint64("seed", 29, "decides what TestChaos breaks when; 0: another each time")
	rate     = flag.Int("rate", 60, "pushes a second")
	crowd    = flag.Int("crowd", 150, "sockets that never read, at times")
	noRace   = flag.Bool("norace", false, "build the daemons without the race detector")
	plan     = flag.String("plan", "mixed", "mixed: all faults, for -duration; failover: the same, with one Redis that has a replica and Sentinels; kills: a count of kills, restarts, expiries, comets added and removed")
	scale    = flag.Int("scale", 100, "per cent of the counts of -plan=kills")
	history  = flag.String("history", "", "file that keeps the history")
	judged   = flag.String("judge", "", "a history to judge again, instead of a run")
)

// limits are how the cluster is configured. A comet is frozen for 6 s at most,
// perhaps between looking at the clock and writing, and clients may stop reading
// for 4 s.
var limits = Limits{Store: testStore, Hold: testHold, Late: 15 * time.Second}

// TestChaos breaks a cluster under load, heals it, and judges what was seen.
func TestChaos(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: this test needs a whole cluster")
	}
	if *judged != "" {
		judge(t, *judged)
		return
	}
	opt := options{seed: *seed, rate: *rate, crowd: *crowd}
	if opt.seed == 0 {
		opt.seed = rand.Uint64N(1 << 32)
	}
	path := *history
	if path == "" {
		path = filepath.Join(os.TempDir(), fmt.Sprintf("gopush-chaos-%d-%d.jsonl", opt.seed, os.Getpid()))
		t.Cleanup(func() {
			if !t.Failed() {
				os.Remove(path)
			}
		})
	}
	c := start(t, testenv.Build{Tags: "chaos", NoRace: *noRace}, *plan == "failover")
	rec, err := NewRecorder(path)
	if err != nil {
		t.Fatal(err)
	}
	r := newRun(c, rec, opt)
	bouts := r.bouts(*plan, *duration)
	t.Logf("seed %d, plan %s for %v, %d pushes a second, race detector in the daemons: %v; the history is kept if it is bad: %s",
		opt.seed, *plan, End(bouts).Round(time.Second), opt.rate, !*noRace, path)
	begun := time.Now()
	r.breakAndHeal(bouts)
	took := time.Since(begun)
	if len(c.redis) > 1 {
		r.hang(c.redis[opt.seed%2])
	}
	r.join()
	loaded := time.Since(begun)
	r.end()
	c.end()
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d faults in %v, one each %v\n%s", len(bouts), took.Round(time.Second), (took / time.Duration(max(1, len(bouts)))).Round(time.Millisecond), table(bouts))
	report := judge(t, path)
	t.Logf("%.0f pushes a second, %.0f keys pushed to a second", float64(report.Pushes+report.Repeated)/loaded.Seconds(),
		float64(report.Promised+report.Refused+report.Unanswered)/loaded.Seconds())
}

// bouts are what is broken when.
func (r *run) bouts(plan string, d time.Duration) []Bout {
	all := r.troubles()
	switch plan {
	case "mixed", "failover":
		return Plan(r.opt.seed, d, all)
	case "kills":
		return PlanSeries(r.opt.seed, r.series(all))
	}
	r.t.Fatalf("-plan=%s: want mixed, failover or kills", plan)
	return nil
}

// table counts the faults by row.
func table(bouts []Bout) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		n := 0
		for _, b := range bouts {
			if b.Row == row {
				n++
			}
		}
		fmt.Fprintf(w, "%d\t%s\n", n, row)
	}
	w.Flush()
	return b.String()
}

// judge reads a history and fails the test if it shows a broken promise.
func judge(t *testing.T, path string) Report {
	t.Helper()
	events, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	report := Check(events, limits)
	t.Log(report)
	told := make(map[string]int)
	for _, v := range report.Violations {
		if told[v.Invariant]++; told[v.Invariant] > 3 {
			continue
		}
		t.Errorf("%v\n%s", v, Story(events, v))
	}
	t.Logf("violations: %v", report.Count())
	return report
}
