package batch

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func double(_ context.Context, in []int) ([]int, error) {
	out := make([]int, len(in))
	for i, v := range in {
		out[i] = 2 * v
	}
	return out, nil
}

func TestIdleLaneRunsAtOnceAndBusyLaneCollects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sizes []int
		gate := make(chan struct{})
		l := New(Options[int]{InFlight: 1, Items: 4, Queue: 100}, func(ctx context.Context, in []int) ([]int, error) {
			sizes = append(sizes, len(in))
			<-gate
			return double(ctx, in)
		})
		var got []int
		for i := range 10 {
			l.Submit(t.Context(), i, func(r int, err error) {
				if err != nil {
					t.Errorf("item %d: %v", i, err)
				}
				got = append(got, r)
			})
			synctest.Wait() // the first is under way alone before the others come
		}
		close(gate)
		l.Close()
		if want := []int{1, 4, 4, 1}; !slices.Equal(sizes, want) {
			t.Errorf("batch sizes = %v, want %v", sizes, want)
		}
		if want := []int{0, 2, 4, 6, 8, 10, 12, 14, 16, 18}; !slices.Equal(got, want) {
			t.Errorf("results = %v, want %v", got, want)
		}
	})
}

func TestInFlightIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int32
		l := New(Options[int]{InFlight: 3, Items: 1, Queue: 100}, func(ctx context.Context, in []int) ([]int, error) {
			n := now.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			time.Sleep(time.Second)
			now.Add(-1)
			return double(ctx, in)
		})
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				if r, err := l.Do(t.Context(), i); err != nil || r != 2*i {
					t.Errorf("Do(%d) = %d, %v", i, r, err)
				}
			})
		}
		wg.Wait()
		if most.Load() != 3 {
			t.Errorf("most in flight = %d, want 3", most.Load())
		}
	})
}

func TestWeightBoundsABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var batches [][]int
		gate := make(chan struct{})
		l := New(Options[int]{InFlight: 1, Items: 10, Queue: 100, Weight: func(v int) int { return v }, MaxWeight: 10},
			func(ctx context.Context, in []int) ([]int, error) {
				batches = append(batches, in)
				<-gate
				return double(ctx, in)
			})
		for i, v := range []int{1, 50, 5, 5, 1} {
			l.Submit(t.Context(), v, func(int, error) {})
			if i == 0 {
				synctest.Wait()
			}
		}
		close(gate)
		l.Close()
		want := [][]int{{1}, {50}, {5, 5}, {1}}
		if !slices.EqualFunc(batches, want, slices.Equal) {
			t.Errorf("batches = %v, want %v", batches, want)
		}
	})
}

func TestWhatCannotRunIsAnswered(t *testing.T) {
	boom := errors.New("boom")
	tests := []struct {
		name string
		run  func(context.Context, []int) ([]int, error)
		prep func(l *Lane[int, int])
		want error
	}{
		{"run fails for all", func(context.Context, []int) ([]int, error) { return nil, boom }, nil, boom},
		{"lane is closed", double, func(l *Lane[int, int]) { l.Close() }, ErrClosed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := New(Options[int]{InFlight: 1, Items: 4, Queue: 1}, tt.run)
			if tt.prep != nil {
				tt.prep(l)
			}
			if _, err := l.Do(t.Context(), 1); !errors.Is(err, tt.want) {
				t.Errorf("err = %v, want %v", err, tt.want)
			}
			l.Close()
		})
	}
	t.Run("fewer results than items", func(t *testing.T) {
		l := New(Options[int]{InFlight: 1, Items: 4, Queue: 1}, func(context.Context, []int) ([]int, error) { return nil, nil })
		if _, err := l.Do(t.Context(), 1); err == nil {
			t.Error("no error though the item has no result")
		}
		l.Close()
	})
}

func TestFullQueueAndLateItem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ran := 0
		l := New(Options[int]{InFlight: 1, Items: 4, Queue: 1}, func(ctx context.Context, in []int) ([]int, error) {
			ran += len(in)
			time.Sleep(3 * time.Second)
			return double(ctx, in)
		})
		first := make(chan error, 1)
		l.Submit(t.Context(), 1, func(_ int, err error) { first <- err })
		synctest.Wait()

		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		late := make(chan error, 1)
		l.Submit(short, 2, func(_ int, err error) { late <- err })
		if _, err := l.Do(t.Context(), 3); !errors.Is(err, ErrFull) {
			t.Errorf("third item: err = %v, want ErrFull", err)
		}
		if err := <-first; err != nil {
			t.Errorf("first item: %v", err)
		}
		if err := <-late; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("late item: err = %v, want deadline exceeded", err)
		}
		l.Close()
		if ran != 1 {
			t.Errorf("ran %d items, want 1: the late one must not run", ran)
		}
	})
}

func TestBatchLivesAsLongAsItsMostPatientItem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Options[int]{InFlight: 1, Items: 4, Queue: 4}, func(ctx context.Context, in []int) ([]int, error) {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(2 * time.Second):
				return double(ctx, in)
			}
		})
		gate := make(chan struct{})
		l.Submit(t.Context(), 0, func(int, error) { close(gate) })
		synctest.Wait()
		short, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		long, cancel2 := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel2()
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := l.Do(short, 1); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("short: err = %v, want deadline exceeded", err)
			}
		})
		wg.Go(func() {
			if r, err := l.Do(long, 2); err != nil || r != 4 {
				t.Errorf("long: %d, %v, want 4", r, err)
			}
		})
		<-gate
		wg.Wait()
		l.Close()
	})
}

func BenchmarkLane(b *testing.B) {
	l := New(Options[int]{InFlight: 2, Items: 128, Queue: 1 << 16}, double)
	ctx := context.Background()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := l.Do(ctx, 1); err != nil {
				b.Error(err)
			}
		}
	})
}
