package oidc

import (
	"container/list"
	"sync"
	"time"
)

// expiring is a map that forgets: each value after ttl, and the oldest when there
// are more than limit. So nobody can fill it for good, or fill the memory.
type expiring[V any] struct {
	ttl   time.Duration
	limit int

	mu    sync.Mutex
	items map[string]*list.Element // guarded by mu
	order *list.List               // of expiringItem[V], oldest first; guarded by mu
}

type expiringItem[V any] struct {
	key   string
	value V
	until time.Time
}

func newExpiring[V any](limit int, ttl time.Duration) *expiring[V] {
	return &expiring[V]{ttl: ttl, limit: limit, items: make(map[string]*list.Element), order: list.New()}
}

// put stores a value under a key that is new (keys here are random).
func (e *expiring[V]) put(key string, v V, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for front := e.order.Front(); front != nil; front = e.order.Front() {
		if len(e.items) < e.limit && now.Before(front.Value.(expiringItem[V]).until) {
			break
		}
		e.drop(front)
	}
	e.items[key] = e.order.PushBack(expiringItem[V]{key, v, now.Add(e.ttl)})
}

// get returns the value of key while it lives.
func (e *expiring[V]) get(key string, now time.Time) (v V, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.find(key, now)
}

// take returns the value of key and forgets it: of several callers one gets it.
func (e *expiring[V]) take(key string, now time.Time) (v V, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	v, ok = e.find(key, now)
	if ok {
		e.drop(e.items[key])
	}
	return v, ok
}

// find must be called with mu held.
func (e *expiring[V]) find(key string, now time.Time) (v V, ok bool) {
	el, ok := e.items[key]
	if !ok {
		return v, false
	}
	item := el.Value.(expiringItem[V])
	if !now.Before(item.until) {
		e.drop(el)
		return v, false
	}
	return item.value, true
}

// drop must be called with mu held.
func (e *expiring[V]) drop(el *list.Element) {
	delete(e.items, e.order.Remove(el).(expiringItem[V]).key)
}
