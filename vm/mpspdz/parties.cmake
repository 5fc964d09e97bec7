# Where an installation of MP-SPDZ is found (MP_SPDZ_HOME, else ~/MP-SPDZ and /opt/MP-SPDZ), the party programs of this
# folder are built against it, in a build of their own: one that cannot be used costs a message, not the main build.
if(MP_SPDZ_HOME)
  set(PLACES ${MP_SPDZ_HOME})
elseif(DEFINED ENV{MP_SPDZ_HOME})
  set(PLACES $ENV{MP_SPDZ_HOME})
else()
  set(PLACES $ENV{HOME}/MP-SPDZ /opt/MP-SPDZ)
endif()

find_path(MP_SPDZ Processor/Processor.hpp PATHS ${PLACES} NO_DEFAULT_PATH NO_CACHE)
if(NOT MP_SPDZ)
  message(STATUS "MP-SPDZ parties: not built, no installation at: ${PLACES}")
  return()
endif()
string(REGEX REPLACE "/$" "" MP_SPDZ ${MP_SPDZ})
if(NOT EXISTS ${MP_SPDZ}/libSPDZ.so)
  message(STATUS "MP-SPDZ parties: not built, ${MP_SPDZ} has no libSPDZ.so")
  return()
endif()
if(EXISTS ${MP_SPDZ}/CHANGELOG.md)
  file(STRINGS ${MP_SPDZ}/CHANGELOG.md RELEASE REGEX "^## v?[0-9]" LIMIT_COUNT 1)
endif()
if(NOT RELEASE MATCHES "^## v?0\\.4\\.")
  message(STATUS "MP-SPDZ parties: not built, ${MP_SPDZ} is release '${RELEASE}', they are written for 0.4")
  return()
endif()
message(STATUS "MP-SPDZ parties: built against ${MP_SPDZ}")

add_custom_target(
  secfwt-mpspdz ALL
  COMMAND
    ${CMAKE_COMMAND} -DSOURCE=${CMAKE_CURRENT_LIST_DIR} -DBUILD=${CMAKE_BINARY_DIR}/mpspdz -DOUTPUT=${CMAKE_BINARY_DIR}
    -DMP_SPDZ=${MP_SPDZ} -DRING=$<TARGET_FILE:secfwt_ring> -DCXX=${CMAKE_CXX_COMPILER} -DGENERATOR=${CMAKE_GENERATOR}
    -DMAKE_PROGRAM=${CMAKE_MAKE_PROGRAM} -DOPENSSL=${OPENSSL_ROOT_DIR} -P ${CMAKE_CURRENT_LIST_DIR}/build.cmake
  DEPENDS secfwt_ring
  VERBATIM)
foreach(PROTOCOL replicated rep4 dealer)
  install(PROGRAMS ${CMAKE_BINARY_DIR}/secfwt-${PROTOCOL}-ring-party.x DESTINATION secfwt/bin OPTIONAL)
endforeach()
