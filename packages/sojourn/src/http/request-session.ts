/**
 * `req.session` of Express, declared in one place. A program may declare a property once only, and two entries of ours put
 * something there: `sojourn/express` a function, `sojourn/express-session` an object. Each adds its part to
 * `Express.RequestSession`, so a program that imports both still compiles.
 */
declare global {
  namespace Express {
    /** The entries fill it. */
    interface RequestSession {}
    interface Request {
      session: RequestSession;
    }
  }
}

export {};
