package message

import (
	"fmt"
	"testing"
	"time"

	"gopush-cluster/internal/testenv"
)

// BenchmarkSave is one call with a batch of saves of as many keys, each of
// which has all the messages it may have.
func BenchmarkSave(b *testing.B) {
	benchStores(b, func(b *testing.B, s store) {
		for _, batch := range []int{1, 16, 128} {
			b.Run(fmt.Sprintf("items=%d", batch), func(b *testing.B) {
				items := make([]item, batch)
				for i := range items {
					items[i] = item{key: fmt.Sprint("key", i), msg: message(`{"text":"`+fmt.Sprintf("%0100d", i)+`"}`, time.Now().Unix()+3600, "0123456789abcdef")}
				}
				round := func(known bool) {
					for i, r := range s.Save(b.Context(), items) {
						if r.err != nil {
							b.Fatal(r.err)
						}
						if known {
							items[i].known = r.mid // as a comet knows it
						}
					}
				}
				for range keepForTest {
					for i := range items {
						items[i].msg.Nonce = fmt.Sprint("n", time.Now().UnixNano(), i)
					}
					round(true)
				}
				b.ReportAllocs()
				for b.Loop() {
					round(true)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/save")
			})
		}
	})
}

// BenchmarkRead is one key's newest messages.
func BenchmarkRead(b *testing.B) {
	benchStores(b, func(b *testing.B, s store) {
		for _, n := range []int{0, 10} {
			b.Run(fmt.Sprintf("messages=%d", n), func(b *testing.B) {
				key := fmt.Sprint("read", n)
				for i := range n {
					if r := s.Save(b.Context(), []item{{key: key, msg: message(`{"text":"`+fmt.Sprintf("%0100d", i)+`"}`, time.Now().Unix()+3600, "")}}); r[0].err != nil {
						b.Fatal(r[0].err)
					}
				}
				b.ReportAllocs()
				for b.Loop() {
					if r := s.Read(b.Context(), []query{{key: key, limit: 20}})[0]; r.err != nil || len(r.msgs) != n {
						b.Fatal(len(r.msgs), r.err)
					}
				}
			})
		}
	})
}

func benchStores(b *testing.B, run func(*testing.B, store)) {
	b.Run("store=redis", func(b *testing.B) {
		o := testRedis(testenv.Redis(b, "--appendonly", "no").Addr(), time.Now)
		s := openRedis(o)
		defer s.Close()
		run(b, s)
	})
	b.Run("store=mysql", func(b *testing.B) {
		s := openTestMySQL(b, testMySQL(testenv.MariaDB(b), time.Now))
		defer s.Close()
		run(b, s)
	})
	b.Run("store=embedded", func(b *testing.B) {
		s, err := openBolt(b.TempDir(), keepForTest, time.Now)
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		run(b, s)
	})
}
