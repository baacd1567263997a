/** Maps and sets that take memory once something is in them: an empty one has 184 bytes, and a client has twenty of them.
 * @module */

/** A `Map` that is made with its first entry. */
export class LazyMap<K, V> {
  #map: Map<K, V> | undefined;

  get size(): number {
    return this.#map?.size ?? 0;
  }

  get(key: K): V | undefined {
    return this.#map?.get(key);
  }

  has(key: K): boolean {
    return this.#map?.has(key) ?? false;
  }

  set(key: K, value: V): void {
    (this.#map ??= new Map()).set(key, value);
  }

  /** Whether it was there. */
  delete(key: K): boolean {
    return this.#map?.delete(key) ?? false;
  }

  clear(): void {
    this.#map = undefined;
  }

  values(): Iterable<V> {
    return this.#map?.values() ?? [];
  }
}

/** A set of that kind. */
export class LazySet<T> extends LazyMap<T, T> {
  add(member: T): void {
    this.set(member, member);
  }

  [Symbol.iterator](): Iterator<T> {
    return this.values()[Symbol.iterator]();
  }
}
