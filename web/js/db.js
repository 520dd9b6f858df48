/* db.js: conversations on this browser's disk: IndexedDB, else localStorage, else memory. Stores whole conversations by id. */
const PREFIX = 'hearth.conv.';

function request(req) {
  return new Promise((resolve, reject) => {
    req.onsuccess = () => resolve(req.result);
    req.onerror = () => reject(req.error);
    req.onblocked = () => reject(new Error('blocked'));
  });
}

function indexed(base) {
  const run = (mode, work) => {
    const store = base.transaction('conversations', mode).objectStore('conversations');
    return request(work(store));
  };
  return {
    kind: 'indexeddb',
    all: () => run('readonly', (s) => s.getAll()),
    get: (id) => run('readonly', (s) => s.get(id)),
    put: (conv) => run('readwrite', (s) => s.put(conv)),
    remove: (id) => run('readwrite', (s) => s.delete(id)),
  };
}

function local(storage) {
  const keys = () => Object.keys(storage).filter((k) => k.startsWith(PREFIX));
  const read = (k) => JSON.parse(storage.getItem(k) ?? 'null');
  return {
    kind: 'localstorage',
    all: async () => keys().map(read).filter(Boolean),
    get: async (id) => read(PREFIX + id),
    put: async (conv) => storage.setItem(PREFIX + conv.id, JSON.stringify(conv)),
    remove: async (id) => storage.removeItem(PREFIX + id),
  };
}

function memory() {
  const map = new Map();
  return {
    kind: 'memory',
    all: async () => [...map.values()],
    get: async (id) => map.get(id),
    put: async (conv) => map.set(conv.id, conv),
    remove: async (id) => map.delete(id),
  };
}

export async function openStore() {
  try {
    const req = indexedDB.open('hearth', 1);
    req.onupgradeneeded = () => req.result.createObjectStore('conversations', { keyPath: 'id' });
    return indexed(await request(req));
  } catch {
    try {
      localStorage.setItem('hearth.probe', '1');
      localStorage.removeItem('hearth.probe');
      return local(localStorage);
    } catch {
      return memory();
    }
  }
}
