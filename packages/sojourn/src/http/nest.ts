/**
 * Sessions for NestJS, on Express and on Fastify.
 *
 *   @Module({ imports: [SojournModule.forRoot({ sessions })], controllers: [CartController] })
 *
 *   @Get()
 *   cart(@CurrentSession() session: Session<Data>) {
 *     return session.get("cart") ?? [];
 *   }
 *
 * The module mounts the adapter of the platform underneath, so all that is said there holds here. A guard or a service
 * takes the injected `SESSIONS` and asks `sessions.of(request)`.
 */
import {
  type ArgumentsHost,
  Catch,
  createParamDecorator,
  type DynamicModule,
  type ExecutionContext,
  type FactoryProvider,
  HttpException,
  Inject,
  Module,
  type ModuleMetadata,
} from "@nestjs/common";
import { APP_FILTER, BaseExceptionFilter, HttpAdapterHost } from "@nestjs/core";
import { SessionError } from "../core/errors.ts";
import type { DefaultData, Session } from "../sessions/session.ts";
import type { MountOptions, VisitOptions } from "../sessions/visit-options.ts";
import { refusalBody } from "./answer.ts";
import { expressSessions } from "./express.ts";
import { fastifySessions } from "./fastify.ts";
import type { ScopeSource } from "./served.ts";

/** Injects what `createSessions` made: `constructor(@Inject(SESSIONS) sessions: Sessions<Data>)`. */
export const SESSIONS: symbol = Symbol("sojourn.sessions");

/** For every request of the application; `@CurrentSession(options)` is more specific. `Req` is the platform's request. */
export interface NestSessionsOptions<Data extends object = DefaultData, Req extends object = object>
  extends MountOptions<Req> {
  readonly sessions: ScopeSource<Data>;
}

export interface NestSessionsAsyncOptions<Data extends object = DefaultData, Req extends object = object>
  extends Pick<ModuleMetadata, "imports">,
    Pick<FactoryProvider<NestSessionsOptions<Data, Req>>, "inject" | "useFactory"> {}

/**
 * Parameter decorator: the loaded session of this request. A handler that does not have it costs the session nothing.
 *
 * @param options  win over those of the module
 */
export const CurrentSession: (options?: VisitOptions) => ParameterDecorator = createParamDecorator(
  (options: VisitOptions | undefined, context: ExecutionContext): Promise<Session> => {
    const request = context.switchToHttp().getRequest<Partial<WithSession> | undefined>();
    if (typeof request?.session === "function") return request.session(options);
    throw new SessionError(
      "INVALID_OPTION",
      "Cannot find the session of a request: SojournModule is not imported, or this is no HTTP request",
    );
  },
);

interface WithSession {
  session(options?: VisitOptions): Promise<Session>;
}

const OPTIONS = Symbol("sojourn.options");

/** Global: import it once, in the root module. */
export class SojournModule {
  /**
   * Modules are made before the program mounts anything of its own. Only Nest middleware on Fastify runs even earlier: to
   * have sessions there, register `fastifySessions` on the instance that `FastifyAdapter` is given.
   */
  constructor({ sessions, ...options }: NestSessionsOptions<never>, { httpAdapter }: HttpAdapterHost) {
    // A program that serves no HTTP may share its modules with one that does.
    if (!httpAdapter) return;
    if (httpAdapter.getType() === "fastify") {
      httpAdapter.getInstance().register(fastifySessions, { sessions, ...options });
    } else {
      httpAdapter.use(expressSessions(sessions, options));
    }
  }

  static forRoot<Data extends object, Req extends object>(
    options: NestSessionsOptions<Data, Req>,
  ): DynamicModule {
    return SojournModule.forRootAsync({ useFactory: () => options });
  }

  /** For sessions that are made from other providers: `{ inject: [ConfigService], useFactory: (config) => … }`. */
  static forRootAsync<Data extends object, Req extends object>({
    imports = [],
    inject = [],
    useFactory,
  }: NestSessionsAsyncOptions<Data, Req>): DynamicModule {
    return {
      module: SojournModule,
      global: true,
      imports,
      providers: [
        { provide: OPTIONS, inject, useFactory },
        {
          provide: SESSIONS,
          inject: [OPTIONS],
          useFactory: ({ sessions }: NestSessionsOptions<Data, Req>) => sessions,
        },
        {
          provide: APP_FILTER,
          inject: [HttpAdapterHost],
          useFactory: ({ httpAdapter }: HttpAdapterHost) => new SessionErrorFilter(httpAdapter),
        },
      ],
      exports: [SESSIONS],
    };
  }
}

/** Nest answers 500 to errors it does not know; a session's has a status, Retry-After and what a visitor may know. */
class SessionErrorFilter extends BaseExceptionFilter {
  override catch(error: SessionError, host: ArgumentsHost): void {
    if (host.getType() !== "http") throw error;
    // A mistake in the program belongs in the log, which is what Nest does with errors it does not know.
    super.catch(error.status === 500 ? error : this.#refusal(error, host), host);
  }

  #refusal(error: SessionError, host: ArgumentsHost): HttpException {
    const adapter = this.applicationRef!;
    const response = host.switchToHttp().getResponse();
    if (!adapter.isHeadersSent(response)) {
      for (const [name, value] of Object.entries({ ...error.headers, "cache-control": "no-store" })) {
        adapter.setHeader(response, name, value);
      }
    }
    return new HttpException(JSON.parse(refusalBody(error.code)), error.status, { cause: error });
  }
}

// Decorators by hand: their syntax is none that Node can strip.
Module({})(SojournModule);
Inject(OPTIONS)(SojournModule, undefined, 0);
Inject(HttpAdapterHost)(SojournModule, undefined, 1);
Catch(SessionError)(SessionErrorFilter);
