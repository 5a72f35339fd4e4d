// Asio, Beast and JSON, compiled once for the whole program.

#include <boost/asio/impl/src.hpp>
#include <boost/beast/src.hpp>
#include <boost/json/src.hpp>
