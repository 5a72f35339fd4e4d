#pragma once
// What OpenSSL asks the allocator for in every turn of a busy connection, pooled: the record
// buffers, of which an idle connection keeps none (SSL_MODE_RELEASE_BUFFERS), and the small node
// that it writes each record header with.

namespace weir::proxy {

// To be called once, before OpenSSL is used at all; afterwards it has no effect. From then on each
// thread keeps a few such blocks for its next turn.
void pool_tls_buffers();

}  // namespace weir::proxy
