package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gopush-cluster/internal/wire"
)

// check waits for the comets to notice, and compares how Subscribe ended and
// what it delivered, public mids negative.
func (f *fake) check(err error, wantErr error, want ...int64) {
	f.t.Helper()
	synctest.Wait()
	if !errors.Is(err, wantErr) {
		f.t.Errorf("Subscribe ended with %v, want %v", err, wantErr)
	}
	if got := f.mids(); !slices.Equal(got, want) {
		f.t.Errorf("delivered %v, want %v (states %v)", got, want, f.states)
	}
}

func TestSubscribe(t *testing.T) {
	each(t, func(t *testing.T, transport Transport) {
		f := &fake{t: t}
		f.serve = func(_ int, p *peer) {
			want := wire.Sub{Key: "k1", Heartbeat: time.Minute, Token: "secret", Version: "1.0", Mid: 79, Pmid: wire.NoMid}
			if p.sub != want {
				t.Errorf("sub = %+v, want %+v", p.sub, want)
			}
			p.accept()
			p.send(message(80, 0), message(160, 0))
			p.stay()
		}
		err := f.subscribe(t.Context(), transport, 2, func(o *Options) {
			o.Token, o.Heartbeat, o.Mid = "secret", time.Minute, 79
		})
		f.check(err, errEnough, 80, 160)
		if string(f.got[0].Msg) != `{"n":80}` {
			t.Errorf("msg = %s", f.got[0].Msg)
		}
		proto := map[Transport]string{TCP: "2", WebSocket: "1"}[transport]
		wantAsked := []string{"/1/server/get?k=k1&p=" + proto}
		if !slices.Equal(f.asked, wantAsked) {
			t.Errorf("asked %q, want %q", f.asked, wantAsked)
		}
		wantState := State{Connected: true, Server: "comet-" + proto + ":1"}
		if len(f.states) != 1 || f.states[0] != wantState || f.dialled[0] != wantState.Server {
			t.Errorf("states %+v, dialled %q, want %+v", f.states, f.dialled, wantState)
		}
	})
}

// TestResume comes back with the largest mid it has seen, whether that one is
// stored or not; public ones do not count.
func TestResume(t *testing.T) {
	each(t, func(t *testing.T, transport Transport) {
		f := &fake{t: t}
		f.store(80, 160)
		f.serve = func(n int, p *peer) {
			p.accept()
			switch n {
			case 0:
				p.send(message(240, 0), message(1000, 1))
				time.Sleep(time.Second)
				f.store(320)
			default:
				p.stay()
			}
		}
		err := f.subscribe(t.Context(), transport, 5)
		f.check(err, errEnough, 80, 160, 240, -1000, 320)
		if want := []int64{0, 240}; !slices.Equal(f.resumed, want) {
			t.Errorf("resumed after %v, want %v", f.resumed, want)
		}
	})
}

// TestGap is told where messages are gone, in its turn.
func TestGap(t *testing.T) {
	each(t, func(t *testing.T, transport Transport) {
		f := &fake{t: t}
		f.serve = func(_ int, p *peer) {
			p.accept()
			p.gap(wire.Gap{From: 79, Oldest: 240})
			p.send(message(240, 0))
			p.gap(wire.Gap{From: 240})
			p.send(message(400, 0))
			p.stay()
		}
		err := f.subscribe(t.Context(), transport, 2, func(o *Options) {
			o.Mid = 79
			gap := o.OnGap
			o.OnGap = func(g Gap) {
				if got := f.mids(); (g.From == 240) != slices.Equal(got, []int64{240}) {
					t.Errorf("%+v is told after %v", g, got)
				}
				gap(g)
			}
		})
		f.check(err, errEnough, 240, 400)
		if want := []Gap{{79, 240}, {240, 0}}; !slices.Equal(f.gaps, want) {
			t.Errorf("gaps %v, want %v", f.gaps, want)
		}
	})
}

func TestRepeatsAreDropped(t *testing.T) {
	each(t, func(t *testing.T, transport Transport) {
		f := &fake{t: t}
		f.serve = func(_ int, p *peer) {
			p.accept()
			p.send(message(160, 0), message(160, 0), message(80, 0), message(80, 1), message(80, 1), message(240, 0), message(160, 1))
			p.stay()
		}
		err := f.subscribe(timed(t, time.Minute), transport, 0)
		f.check(err, context.DeadlineExceeded, 160, -80, 240, -160)
	})
}

// TestCut ends the connection at every kind of place, and wants the client back:
// it resumes after the last message that arrived whole.
func TestCut(t *testing.T) {
	tests := []struct {
		name string
		cut  func(p *peer) // after 80 was sent, if p was accepted
		want []int64
	}{
		{"before +h", nil, []int64{160, 240}},
		{"between messages", func(*peer) {}, []int64{80, 160, 240}},
		{"in the head of a message", func(p *peer) { p.raw(p.frame(message(160, 0))[:1]) }, []int64{80, 160, 240}},
		{"in the body of a message", func(p *peer) { b := p.frame(message(160, 0)); p.raw(b[:len(b)-9]) }, []int64{80, 160, 240}},
		{"before the last byte", func(p *peer) { b := p.frame(message(160, 0)); p.raw(b[:len(b)-1]) }, []int64{80, 160, 240}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			each(t, func(t *testing.T, transport Transport) {
				f := &fake{t: t}
				f.serve = func(n int, p *peer) {
					switch {
					case n > 0:
						p.accept()
						time.Sleep(time.Second)
						p.send(message(240, 0))
						p.stay()
					case tt.cut == nil:
						f.store(160)
					default:
						p.accept()
						p.send(message(80, 0))
						f.store(160)
						tt.cut(p)
					}
				}
				f.check(f.subscribe(t.Context(), transport, len(tt.want)), errEnough, tt.want...)
				seen := tt.want[0]
				if tt.cut == nil {
					seen = 0
				}
				if got := f.resumed[len(f.resumed)-1]; got != seen {
					t.Errorf("after the cut it resumed after %d, want %d", got, seen)
				}
				if transport == TCP && tt.name == "between messages" && !f.saw(ErrClosed) {
					t.Errorf("states %v, want one with ErrClosed", f.states)
				}
				if !slices.ContainsFunc(f.states, func(s State) bool { return !s.Connected && s.Err != nil }) {
					t.Errorf("nobody was told of the cut: %v", f.states)
				}
				if f.conns != 2 {
					t.Errorf("%d connections, want 2", f.conns)
				}
			})
		})
	}
}

// TestWrongNode is sent away when it subscribes, and again later.
func TestWrongNode(t *testing.T) {
	each(t, func(t *testing.T, transport Transport) {
		f := &fake{t: t}
		f.web = func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/1/server/get" {
				fmt.Fprintf(w, `{"data":{"server":"comet-%d:1"},"ret":0}`, f.conns)
				return
			}
			f.webOK(w, r)
		}
		f.serve = func(n int, p *peer) {
			switch n {
			case 0:
				p.reply(wire.WrongNode)
			case 1:
				p.accept()
				time.Sleep(time.Second)
				p.send(message(80, 0))
				p.reply(wire.WrongNode)
			default:
				p.accept()
				p.send(message(80, 0), message(160, 0))
				p.stay()
			}
		}
		err := f.subscribe(t.Context(), transport, 2)
		f.check(err, errEnough, 80, 160)
		if want := []string{"comet-0:1", "comet-1:1", "comet-2:1"}; !slices.Equal(f.dialled, want) {
			t.Errorf("dialled %q, want %q", f.dialled, want)
		}
		if !f.saw(ErrWrongNode) {
			t.Errorf("nobody was told of -n: %v", f.states)
		}
	})
}

func TestRefused(t *testing.T) {
	for reply, want := range map[wire.Reply]error{wire.BadParam: ErrParam, wire.AuthFailed: ErrAuth, wire.NoChannel: ErrNoChannel} {
		t.Run(want.Error(), func(t *testing.T) {
			each(t, func(t *testing.T, transport Transport) {
				f := &fake{t: t, serve: func(_ int, p *peer) { p.reply(reply) }}
				start := time.Now()
				f.check(f.subscribe(t.Context(), transport, 0), want)
				if f.conns != 1 || time.Since(start) != 0 {
					t.Errorf("%d connections in %v, want 1 at once", f.conns, time.Since(start))
				}
			})
		})
	}
	t.Run("web", func(t *testing.T) {
		each(t, func(t *testing.T, transport Transport) {
			f := &fake{t: t, web: func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"ret":65534}`) }}
			f.check(f.subscribe(t.Context(), transport, 0), ErrParam)
		})
	})
}

// TestHeartbeat counts them, and then lets the server fall silent.
func TestHeartbeat(t *testing.T) {
	each(t, func(t *testing.T, transport Transport) {
		f := &fake{t: t}
		start := time.Now()
		var beats []time.Duration
		f.serve = func(n int, p *peer) {
			p.accept()
			if n > 0 {
				if silent := time.Since(start); silent < 100*time.Second || silent > 101*time.Second {
					t.Errorf("the client came back after %v, want a pause after 100s", silent)
				}
				p.send(message(80, 0))
				p.stay()
				return
			}
			for i := 0; p.heartbeat(); i++ {
				beats = append(beats, time.Since(start))
				if i < 2 { // at 30 s and 60 s
					p.reply(wire.Accepted)
				}
			}
		}
		f.check(f.subscribe(t.Context(), transport, 1), errEnough, 80)
		if !f.saw(ErrSilent) {
			t.Errorf("states %v, want one with ErrSilent", f.states)
		}
		want := []time.Duration{30 * time.Second, 60 * time.Second, 90 * time.Second}
		if !slices.Equal(beats, want) {
			t.Errorf("heartbeats at %v, want %v", beats, want)
		}
	})
}

// TestSlowDelivery holds up deliver for five minutes: heartbeats go on.
func TestSlowDelivery(t *testing.T) {
	each(t, func(t *testing.T, transport Transport) {
		f := &fake{t: t, slow: 5 * time.Minute}
		beats := 0
		f.serve = func(_ int, p *peer) {
			p.accept()
			time.Sleep(time.Second)
			answers := make(chan wire.Reply, 100) // the client reads them late
			defer close(answers)
			go func() {
				p.send(message(80, 0), message(160, 0))
				for a := range answers {
					p.reply(a)
				}
			}()
			for ; p.heartbeat(); beats++ {
				answers <- wire.Accepted
			}
		}
		f.check(f.subscribe(t.Context(), transport, 2), errEnough, 80, 160)
		if beats < 19 || f.conns != 1 {
			t.Errorf("%d heartbeats in 10 minutes over %d connections, want one in 30s over one", beats, f.conns)
		}
	})
}

// TestDeliveryFailsAfterCut loses the connection while deliver is at work, and
// then deliver fails: that ends the subscription.
func TestDeliveryFailsAfterCut(t *testing.T) {
	each(t, func(t *testing.T, transport Transport) {
		f := &fake{t: t, slow: time.Minute}
		f.serve = func(_ int, p *peer) {
			p.accept()
			p.send(message(80, 0))
		}
		f.check(f.subscribe(t.Context(), transport, 1), errEnough, 80)
		if f.conns != 1 {
			t.Errorf("%d connections, want 1", f.conns)
		}
	})
}

// TestLocateFails lets the web give no address at first.
func TestLocateFails(t *testing.T) {
	for answer, want := range map[string]error{
		`{"ret":1001}`:                               ErrNoComet,
		`{"ret":0}`:                                  ErrProtocol,
		`{"data":{"server":"no-port"},"ret":0}`:      ErrProtocol,
		`{"data":{"server":["comet:1"]},"ret":0}`:    ErrProtocol,
		strings.Repeat(" ", maxAnswer) + `{"ret":0}`: ErrProtocol,
	} {
		t.Run(strings.TrimSpace(answer), func(t *testing.T) {
			each(t, func(t *testing.T, transport Transport) {
				f := &fake{t: t, serve: func(_ int, p *peer) { p.accept(); p.send(message(80, 0)); p.stay() }}
				f.web = func(w http.ResponseWriter, r *http.Request) {
					if len(f.asked) == 1 {
						io.WriteString(w, answer)
						return
					}
					f.webOK(w, r)
				}
				f.check(f.subscribe(t.Context(), transport, 1), errEnough, 80)
				if !f.saw(want) || f.conns != 1 {
					t.Errorf("%d connections, states %v, want one with %v", f.conns, f.states, want)
				}
			})
		})
	}
}

// TestNextWeb asks the second web when the first is away, and stays with it.
func TestNextWeb(t *testing.T) {
	each(t, func(t *testing.T, transport Transport) {
		f := &fake{t: t, serve: func(_ int, p *peer) { p.accept(); p.send(message(80, 0)); p.stay() }}
		var hosts []string
		f.web = func(w http.ResponseWriter, r *http.Request) {
			hosts = append(hosts, r.URL.Host)
			if r.URL.Host == "web1" {
				w.WriteHeader(http.StatusBadGateway) // the fake's sign for an error of the connection
				return
			}
			f.webOK(w, r)
		}
		err := f.subscribe(t.Context(), transport, 1, func(o *Options) { o.Web = []string{"http://web1/", "http://web2/"} })
		f.check(err, errEnough, 80)
		if want := []string{"web1", "web2"}; !slices.Equal(hosts, want) {
			t.Errorf("asked %q, want %q", hosts, want)
		}
	})
}

// TestNoURLInErrors looks for the token where errors are shown.
func TestNoURLInErrors(t *testing.T) {
	each(t, func(t *testing.T, transport Transport) {
		f := &fake{t: t, serve: func(int, *peer) {}} // cut before +h
		f.web = func(w http.ResponseWriter, r *http.Request) {
			if len(f.asked)%2 == 0 {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			f.webOK(w, r)
		}
		err := f.subscribe(timed(t, time.Minute), transport, 0, func(o *Options) { o.Token = "secret" })
		f.check(err, context.DeadlineExceeded)
		for _, s := range f.states {
			if s.Err != nil && strings.Contains(s.Err.Error(), "secret") {
				t.Errorf("state %v holds the token", s)
			}
		}
		if len(f.states) < 2 {
			t.Errorf("states %v, want failures of web and comet", f.states)
		}
	})
}

// TestPause counts how often a client comes to a comet that is not there.
func TestPause(t *testing.T) {
	each(t, func(t *testing.T, transport Transport) {
		f := &fake{t: t, dial: func() error { return errors.New("connection refused") }}
		f.check(f.subscribe(timed(t, 10*time.Minute), transport, 0), context.DeadlineExceeded)
		if f.conns < 60 || f.conns > 130 {
			t.Errorf("%d tries in 10 minutes, want one in 5 to 10 seconds", f.conns)
		}
	})
}

// TestSilentComet never answers the subscription.
func TestSilentComet(t *testing.T) {
	each(t, func(t *testing.T, transport Transport) {
		f := &fake{t: t, serve: func(n int, p *peer) {
			if n > 0 {
				p.accept()
				p.send(message(80, 0))
			}
			p.stay()
		}}
		start := time.Now()
		f.check(f.subscribe(t.Context(), transport, 1), errEnough, 80)
		if took := time.Since(start); took < connectTimeout || took > connectTimeout+time.Second {
			t.Errorf("the second try was after %v, want %v and a pause", took, connectTimeout)
		}
		if !f.saw(context.DeadlineExceeded) {
			t.Errorf("states %v, want one with the timeout", f.states)
		}
	})
}

// TestEnd ends ctx in every phase: Subscribe returns at once.
func TestEnd(t *testing.T) {
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	for phase, change := range map[string]func(*fake){
		"asking":      func(f *fake) { f.web = hang },
		"subscribing": func(f *fake) { f.serve = func(_ int, p *peer) { p.stay() } },
		"connected":   func(*fake) {},
		"pausing":     func(f *fake) { f.dial = func() error { return errors.New("refused") } },
	} {
		t.Run(phase, func(t *testing.T) {
			each(t, func(t *testing.T, transport Transport) {
				f := &fake{t: t, serve: func(_ int, p *peer) { p.accept(); p.stay() }}
				change(f)
				start := time.Now()
				f.check(f.subscribe(timed(t, 5*time.Second), transport, 0), context.DeadlineExceeded)
				if took := time.Since(start); took != 5*time.Second {
					t.Errorf("Subscribe returned after %v, want 5s", took)
				}
			})
		})
	}
}

func TestOptions(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"no key":               func(o *Options) { o.Key = "" },
		"a long key":           func(o *Options) { o.Key = strings.Repeat("k", 256) },
		"a short heartbeat":    func(o *Options) { o.Heartbeat = 29 * time.Second },
		"half a second":        func(o *Options) { o.Heartbeat = 30*time.Second + 500*time.Millisecond },
		"no such transport":    func(o *Options) { o.Transport = 2 },
		"a mid below zero":     func(o *Options) { o.Mid = -1 },
		"no web":               func(o *Options) { o.Web = nil },
		"a web without http":   func(o *Options) { o.Web = []string{"localhost:8090"} },
		"a web without host":   func(o *Options) { o.Web = []string{"http:///"} },
		"a web with a query":   func(o *Options) { o.Web = []string{"http://localhost:8090/?k=1"} },
		"a web that is no URL": func(o *Options) { o.Web = []string{"http://%zz"} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{t: t}
				f.check(f.subscribe(t.Context(), TCP, 0, change), ErrParam)
				if len(f.asked) != 0 {
					t.Errorf("asked %q", f.asked)
				}
			})
		})
	}
}
