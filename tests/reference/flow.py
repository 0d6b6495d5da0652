"""One scale of TV-L1 flow in NumPy float64, pixel by pixel, from the papers' equations.

Zach, Pock, Bischof 2007, with their sign of the dual variable: u = v - theta div p, and p by Chambolle's fixed-point
iteration p <- (p + tau grad(div p - v / theta)) / (1 + tau |grad(div p - v / theta)|), one of which follows every u.
"""

import numpy as np


def threshold(u, difference, gradient, u_0, weight, theta):
    """v of one pixel, by the three cases of the soft threshold."""
    rho = difference + gradient @ (u - u_0)
    square = gradient @ gradient
    if rho < -weight * theta * square:
        return u + weight * theta * gradient
    if rho > weight * theta * square:
        return u - weight * theta * gradient
    return u - rho * gradient / square


def gradient_of(f):
    """Forward differences [d/dx, d/dy] of f (H, W), 0 across the border."""
    out = np.zeros((2, *f.shape))
    for i, j in np.ndindex(f.shape):
        if j + 1 < f.shape[1]:
            out[0, i, j] = f[i, j + 1] - f[i, j]
        if i + 1 < f.shape[0]:
            out[1, i, j] = f[i + 1, j] - f[i, j]
    return out


def divergence_of(p):
    """Backward differences of p (2, H, W), by Chambolle's cases at the border."""
    height, width = p.shape[1:]
    out = np.zeros((height, width))
    for i, j in np.ndindex(height, width):
        out[i, j] += p[0, i, j] if j == 0 else -p[0, i, j - 1] if j == width - 1 else p[0, i, j] - p[0, i, j - 1]
        out[i, j] += p[1, i, j] if i == 0 else -p[1, i - 1, j] if i == height - 1 else p[1, i, j] - p[1, i - 1, j]
    return out


def scheme(u, p, difference, gradient, weight, theta, tau, iterations):
    """u (2, H, W) and p (component, direction, H, W) after `iterations`; p has the paper's sign."""
    u_0 = u
    for _ in range(iterations):
        v = np.zeros_like(u)
        for i, j in np.ndindex(difference.shape):
            at = (slice(None), i, j)
            v[at] = threshold(u[at], difference[i, j], gradient[at], u_0[at], weight, theta)
        u = np.stack([v[d] - theta * divergence_of(p[d]) for d in range(2)])
        new = []
        for d in range(2):
            # div p - v / theta with the v whose u this is, so that the term is -u / theta.
            slope = gradient_of(divergence_of(p[d]) - v[d] / theta)
            new.append((p[d] + tau * slope) / (1 + tau * np.sqrt((slope**2).sum(axis=0))))
        p = np.stack(new)
    return u, p
