/** The server on a port, and its end. */
import type { Server } from 'node:http';
import { serve as serveHono } from '@hono/node-server';
import { ConfigError } from '../core/errors.ts';
import type { App } from './app.ts';

export interface ListenOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
}

export interface Listening {
  /** `http://127.0.0.1:8000` */
  readonly url: string;
  /**
   * Refuses new requests, waits for those under way until `deadline` settles, ends the rest, and closes the port. Connections
   * stay open until then, so that a client that asks meanwhile reads why it is refused.
   */
  close(deadline: Promise<void>): Promise<void>;
}

/**
 * Opens the port.
 *
 * @throws ConfigError when it is taken or not allowed
 */
export async function listen(app: App, { host, port }: ListenOptions): Promise<Listening> {
  const server = await new Promise<Server>((resolve, reject) => {
    const opened = serveHono(
      { fetch: (request) => app.fetch(request), hostname: host, port, autoCleanupIncoming: true },
      () => resolve(opened as Server),
    );
    opened.once('error', (cause: NodeJS.ErrnoException) => {
      reject(
        new ConfigError({
          where: 'heed serve',
          expected: `to listen on ${host}:${port}`,
          received: cause.code ?? cause.message,
          fix: cause.code === 'EADDRINUSE' ? 'Choose another --port' : 'Check --host and --port',
          cause,
        }),
      );
    });
  });
  const address = server.address();
  const bound = typeof address === 'object' && address !== null ? address.port : port;
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${bound}`,
    async close(deadline) {
      await app.close(deadline);
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      // Readers that are slow to take what is ready have until the deadline, too.
      await Promise.race([closed, deadline]);
      server.closeAllConnections();
      await closed;
    },
  };
}
